// SPDX-License-Identifier: GPL-2.0
/*
 * Both layouts, and the devices that make one: an I2C bus with the sensor on it, and the receiver.
 */
#include <linux/module.h>
#include "fake_imx500.h"

static char *layout = "unicam";
module_param(layout, charp, 0444);
MODULE_PARM_DESC(layout, "unicam (Pi 4, Zero 2 W) or rp1-cfe (Pi 5)");

static const struct fi_node_description unicam_nodes[] = {
	{ "unicam-image", FI_IMAGE, V4L2_CAP_VIDEO_CAPTURE },
	{ "unicam-embedded", FI_METADATA, V4L2_CAP_META_CAPTURE },
};

static const struct fi_node_description cfe_nodes[] = {
	{ "rp1-cfe-csi2_ch0", FI_IMAGE, V4L2_CAP_VIDEO_CAPTURE },
	{ "rp1-cfe-embedded", FI_METADATA, V4L2_CAP_META_CAPTURE },
	{ "rp1-cfe-csi2_ch2", FI_UNUSED, V4L2_CAP_VIDEO_CAPTURE },
	{ "rp1-cfe-csi2_ch3", FI_UNUSED, V4L2_CAP_VIDEO_CAPTURE },
	{ "rp1-cfe-fe_image0", FI_UNUSED, V4L2_CAP_VIDEO_CAPTURE },
	{ "rp1-cfe-fe_image1", FI_UNUSED, V4L2_CAP_VIDEO_CAPTURE },
	{ "rp1-cfe-fe_stats", FI_UNUSED, V4L2_CAP_META_CAPTURE },
	{ "rp1-cfe-fe_config", FI_UNUSED, V4L2_CAP_META_OUTPUT, .source = true },
};

static const struct fi_layout layouts[] = {
	{
		.name = "unicam",
		.device = "fe801000.csi",
		.i2c_bus = 10,
		.picture_alignment = 32,
		.metadata_alignment = 1,
		.register_lines_aligned = true,
		.nodes = unicam_nodes,
		.node_count = ARRAY_SIZE(unicam_nodes),
	},
	{
		.name = "rp1-cfe",
		.device = "1f00110000.csi",
		.i2c_bus = 4,
		.picture_alignment = 16,
		.metadata_alignment = 16,
		.starved_loses_frame = true,
		.upper_bits = true,
		.nodes = cfe_nodes,
		.node_count = ARRAY_SIZE(cfe_nodes),
	},
};

const struct fi_layout *fi_layout;

/* Nobody answers: what the sensor would say, sensor.c knows. */
static int transfer(struct i2c_adapter *adapter, struct i2c_msg *messages, int count)
{
	return -ENXIO;
}

static u32 functionality(struct i2c_adapter *adapter)
{
	return I2C_FUNC_I2C;
}

static const struct i2c_algorithm algorithm = { .master_xfer = transfer, .functionality = functionality };
static struct i2c_adapter adapter = { .owner = THIS_MODULE, .algo = &algorithm, .name = "fake imx500 bus" };
static struct i2c_client *client;
static struct platform_device *receiver;

static int __init start(void)
{
	static const struct i2c_board_info board = { I2C_BOARD_INFO("imx500", 0x1a) };
	unsigned int i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(layouts); i++)
		if (!strcmp(layout, layouts[i].name))
			fi_layout = &layouts[i];
	if (!fi_layout)
		return -EINVAL;
	ret = fi_faults_init();
	if (ret)
		return ret;
	ret = i2c_add_driver(&fi_sensor_driver);
	if (ret)
		goto faults;
	fi_receiver_driver.driver.name = fi_layout->name;
	ret = platform_driver_register(&fi_receiver_driver);
	if (ret)
		goto sensor_driver;
	adapter.nr = fi_layout->i2c_bus;
	ret = i2c_add_numbered_adapter(&adapter);
	if (ret)
		goto receiver_driver;
	client = i2c_new_client_device(&adapter, &board);
	if (IS_ERR(client)) {
		ret = PTR_ERR(client);
		goto bus;
	}
	receiver = platform_device_register_simple(fi_layout->device, PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(receiver)) {
		ret = PTR_ERR(receiver);
		goto sensor;
	}
	return 0;

sensor:
	i2c_unregister_device(client);
bus:
	i2c_del_adapter(&adapter);
receiver_driver:
	platform_driver_unregister(&fi_receiver_driver);
sensor_driver:
	i2c_del_driver(&fi_sensor_driver);
faults:
	fi_faults_exit();
	return ret;
}

static void __exit stop(void)
{
	platform_device_unregister(receiver);
	i2c_unregister_device(client);
	i2c_del_adapter(&adapter);
	platform_driver_unregister(&fi_receiver_driver);
	i2c_del_driver(&fi_sensor_driver);
	fi_faults_exit();
}

module_init(start);
module_exit(stop);
MODULE_DESCRIPTION("An IMX500 camera for tests, without the camera");
MODULE_LICENSE("GPL");

// SPDX-License-Identifier: GPL-2.0
/*
 * The two media devices: entities, links, and what must stream for the sensor to run.
 *
 *   unicam    sensor 0 -> unicam-image, 1 -> unicam-embedded; both links immutable
 *   rp1-cfe   sensor 0, 1 -> csi2 0, 1; csi2 4..7 -> nodes, or -> pisp-fe and its nodes
 */
#include <linux/module.h>
#include <linux/slab.h>
#include "fake_imx500.h"

#define FIXED (MEDIA_LNK_FL_ENABLED | MEDIA_LNK_FL_IMMUTABLE)

enum { FE_STREAM, FE_CONFIG, FE_OUTPUT0, FE_OUTPUT1, FE_STATS };
enum { CFE_CSI2_NODES = 4 };	/* the first of the layout's nodes, in the order of csi2's source pads */

static bool is_cfe(const struct fi_receiver *receiver)
{
	return receiver->layout->starved_loses_frame;
}

static bool link_enabled(const struct fi_node *node)
{
	const struct media_link *link;

	list_for_each_entry(link, &node->vdev.entity.links, list)
		if (link->flags & MEDIA_LNK_FL_ENABLED)
			return true;
	return false;
}

/* Whether everything streams that must. */
bool fi_receiver_complete(struct fi_receiver *receiver)
{
	unsigned int i;
	bool image = false;

	for (i = 0; i < receiver->layout->node_count; i++) {
		struct fi_node *node = &receiver->nodes[i];
		bool wanted = is_cfe(receiver) ? link_enabled(node) : node->opened > 0;

		if (wanted && !node->streaming)
			return false;
		image |= node->streaming && (node->role == FI_IMAGE || is_cfe(receiver));
	}
	return image;
}

/* -------------------------------------------------------------- csi2 and front end */

static int get_format(struct v4l2_subdev *sd, struct v4l2_subdev_state *state, struct v4l2_subdev_format *format)
{
	struct fi_receiver *receiver = container_of(sd, struct fi_receiver, csi2);

	if (format->pad >= FI_CSI2_PADS)
		return -EINVAL;
	format->format = receiver->csi2_formats[format->pad];
	return 0;
}

/* A source pad always has what its sink has. */
static int set_format(struct v4l2_subdev *sd, struct v4l2_subdev_state *state, struct v4l2_subdev_format *format)
{
	struct fi_receiver *receiver = container_of(sd, struct fi_receiver, csi2);

	if (format->pad >= FI_CSI2_PADS)
		return -EINVAL;
	if (format->pad >= FI_CSI2_PADS / 2)
		return get_format(sd, state, format);
	format->format.field = V4L2_FIELD_NONE;
	if (format->which == V4L2_SUBDEV_FORMAT_TRY)
		return 0;
	receiver->csi2_formats[format->pad] = format->format;
	receiver->csi2_formats[format->pad + FI_CSI2_PADS / 2] = format->format;
	return 0;
}

static int enum_code(struct v4l2_subdev *sd, struct v4l2_subdev_state *state, struct v4l2_subdev_mbus_code_enum *code)
{
	if (code->pad >= FI_CSI2_PADS || code->index > ARRAY_SIZE(fi_formats))
		return -EINVAL;
	code->code = code->index < ARRAY_SIZE(fi_formats) ? fi_formats[code->index].code : FI_MBUS_SENSOR_DATA;
	return 0;
}

static const struct v4l2_subdev_pad_ops csi2_pad_ops = {
	.enum_mbus_code = enum_code,
	.get_fmt = get_format,
	.set_fmt = set_format,
	.link_validate = v4l2_subdev_link_validate_default,
};
static const struct v4l2_subdev_ops csi2_ops = { .pad = &csi2_pad_ops };
static const struct media_entity_operations csi2_entity_ops = { .link_validate = v4l2_subdev_link_validate };
static const struct v4l2_subdev_ops fe_ops = { };

static int add_subdevice(struct fi_receiver *receiver, struct v4l2_subdev *sd, const struct v4l2_subdev_ops *ops,
			 const char *name, struct media_pad *pads, unsigned int count)
{
	int ret;

	v4l2_subdev_init(sd, ops);
	sd->owner = THIS_MODULE;
	sd->dev = &receiver->pdev->dev;
	sd->flags |= V4L2_SUBDEV_FL_HAS_DEVNODE;
	sd->entity.function = MEDIA_ENT_F_VID_IF_BRIDGE;
	strscpy(sd->name, name, sizeof(sd->name));
	ret = media_entity_pads_init(&sd->entity, count, pads);
	return ret ? ret : v4l2_device_register_subdev(&receiver->v4l2, sd);
}

static int add_cfe_subdevices(struct fi_receiver *receiver)
{
	unsigned int i;
	int ret;

	for (i = 0; i < FI_CSI2_PADS; i++) {
		receiver->csi2_pads[i].flags = i < FI_CSI2_PADS / 2 ? MEDIA_PAD_FL_SINK : MEDIA_PAD_FL_SOURCE;
		/* As another program left it. */
		receiver->csi2_formats[i] = (struct v4l2_mbus_framefmt){
			.width = 640, .height = 480, .code = fi_formats[3].code, .field = V4L2_FIELD_NONE,
		};
	}
	for (i = 0; i < FI_FE_PADS; i++)
		receiver->fe_pads[i].flags = i <= FE_CONFIG ? MEDIA_PAD_FL_SINK : MEDIA_PAD_FL_SOURCE;
	receiver->csi2.entity.ops = &csi2_entity_ops;
	ret = add_subdevice(receiver, &receiver->csi2, &csi2_ops, "csi2", receiver->csi2_pads, FI_CSI2_PADS);
	if (ret)
		return ret;
	receiver->csi2.entity.ops = &csi2_entity_ops;
	return add_subdevice(receiver, &receiver->fe, &fe_ops, "pisp-fe", receiver->fe_pads, FI_FE_PADS);
}

/* -------------------------------------------------------------- links */

static int link_unicam(struct fi_receiver *receiver)
{
	struct media_entity *sensor = &receiver->sensor->sd.entity;
	unsigned int i;
	int ret = 0;

	for (i = 0; i < FI_PADS && !ret; i++)
		ret = media_create_pad_link(sensor, i, &receiver->nodes[i].vdev.entity, 0, FIXED);
	return ret;
}

static int link_cfe(struct fi_receiver *receiver)
{
	static const u8 fe_pads[] = { FE_OUTPUT0, FE_OUTPUT1, FE_STATS, FE_CONFIG };
	struct media_entity *csi2 = &receiver->csi2.entity, *fe = &receiver->fe.entity;
	u32 left = fi_faults.stale_links ? MEDIA_LNK_FL_ENABLED : 0;
	unsigned int i;
	int ret = 0;

	for (i = 0; i < FI_PADS && !ret; i++)
		ret = media_create_pad_link(&receiver->sensor->sd.entity, i, csi2, i, FIXED);
	for (i = 0; i < CFE_CSI2_NODES && !ret; i++) {
		const struct fi_node *node = &receiver->nodes[i];

		ret = media_create_pad_link(csi2, i + 4, &receiver->nodes[i].vdev.entity, 0, i == 1 ? left : 0);
		if (!ret && node->role != FI_METADATA)
			ret = media_create_pad_link(csi2, i + 4, fe, FE_STREAM, i == 0 ? left : 0);
	}
	for (; i < receiver->layout->node_count && !ret; i++) {
		struct media_entity *node = &receiver->nodes[i].vdev.entity;
		u8 pad = fe_pads[i - CFE_CSI2_NODES];

		if (receiver->layout->nodes[i].source)
			ret = media_create_pad_link(node, 0, fe, pad, left);
		else
			ret = media_create_pad_link(fe, pad, node, 0, pad == FE_OUTPUT0 ? left : 0);
	}
	return ret;
}

/* -------------------------------------------------------------- the device */

static struct fi_sensor *find_sensor(const struct fi_layout *layout)
{
	struct i2c_adapter *adapter = i2c_get_adapter(layout->i2c_bus);
	struct device *child = NULL;
	struct v4l2_subdev *sd = NULL;

	if (!adapter)
		return NULL;
	child = device_find_any_child(&adapter->dev);
	if (child && child->driver)
		sd = dev_get_drvdata(child);
	put_device(child);
	i2c_put_adapter(adapter);
	return sd ? container_of(sd, struct fi_sensor, sd) : NULL;
}

/* The one that is plugged in. */
static DEFINE_MUTEX(current_lock);
static struct fi_receiver *current_receiver;

static void set_current_receiver(struct fi_receiver *receiver)
{
	mutex_lock(&current_lock);
	current_receiver = receiver;
	mutex_unlock(&current_lock);
}

void fi_receiver_list_links(struct seq_file *file)
{
	struct media_entity *entity;
	struct media_link *link;

	mutex_lock(&current_lock);
	if (current_receiver) {
		mutex_lock(&current_receiver->mdev.graph_mutex);
		media_device_for_each_entity(entity, &current_receiver->mdev)
			list_for_each_entry(link, &entity->links, list)
				if ((link->flags & MEDIA_LNK_FL_LINK_TYPE) == MEDIA_LNK_FL_DATA_LINK &&
				    link->source->entity == entity && (link->flags & MEDIA_LNK_FL_ENABLED))
					seq_printf(file, "%s:%u -> %s:%u\n", entity->name, link->source->index,
						   link->sink->entity->name, link->sink->index);
		mutex_unlock(&current_receiver->mdev.graph_mutex);
	}
	mutex_unlock(&current_lock);
}

static void release(struct v4l2_device *v4l2)
{
	struct fi_receiver *receiver = container_of(v4l2, struct fi_receiver, v4l2);

	media_device_cleanup(&receiver->mdev);
	kfree(receiver);
}

static void unregister(struct fi_receiver *receiver)
{
	unsigned int i;

	set_current_receiver(NULL);
	for (i = 0; i < receiver->layout->node_count; i++)
		fi_node_unregister(&receiver->nodes[i]);
	/* By itself: the call below would take away the I2C device as well. */
	v4l2_device_unregister_subdev(&receiver->sensor->sd);
	media_device_unregister(&receiver->mdev);
	v4l2_device_unregister(&receiver->v4l2);
	v4l2_device_put(&receiver->v4l2);
}

static int add_all(struct fi_receiver *receiver)
{
	unsigned int i;
	int ret = v4l2_device_register_subdev(&receiver->v4l2, &receiver->sensor->sd);

	if (!ret && is_cfe(receiver))
		ret = add_cfe_subdevices(receiver);
	for (i = 0; i < receiver->layout->node_count && !ret; i++)
		ret = fi_node_register(receiver, i);
	if (!ret)
		ret = is_cfe(receiver) ? link_cfe(receiver) : link_unicam(receiver);
	if (!ret)
		ret = v4l2_device_register_subdev_nodes(&receiver->v4l2);
	if (!ret)
		ret = media_device_register(&receiver->mdev);
	return ret;
}

static int probe(struct platform_device *pdev)
{
	struct fi_receiver *receiver = kzalloc(sizeof(*receiver), GFP_KERNEL);
	int ret;

	if (!receiver)
		return -ENOMEM;
	receiver->layout = fi_layout;
	receiver->pdev = pdev;
	receiver->sensor = find_sensor(fi_layout);
	if (!receiver->sensor) {
		kfree(receiver);
		return -EPROBE_DEFER;
	}
	mutex_init(&receiver->lock);
	mutex_init(&receiver->frame_lock);
	spin_lock_init(&receiver->buffers_lock);
	strscpy(receiver->mdev.model, fi_layout->name, sizeof(receiver->mdev.model));
	snprintf(receiver->mdev.bus_info, sizeof(receiver->mdev.bus_info), "platform:%s", dev_name(&pdev->dev));
	receiver->mdev.dev = &pdev->dev;
	media_device_init(&receiver->mdev);
	receiver->v4l2.mdev = &receiver->mdev;
	receiver->v4l2.release = release;
	ret = v4l2_device_register(&pdev->dev, &receiver->v4l2);
	if (ret) {
		media_device_cleanup(&receiver->mdev);
		kfree(receiver);
		return ret;
	}
	/* After the registration, which may replace it. */
	platform_set_drvdata(pdev, receiver);
	ret = add_all(receiver);
	if (ret)
		unregister(receiver);
	else
		set_current_receiver(receiver);
	return ret;
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
static void remove(struct platform_device *pdev)
{
	unregister(platform_get_drvdata(pdev));
}
#else
static int remove(struct platform_device *pdev)
{
	unregister(platform_get_drvdata(pdev));
	return 0;
}
#endif

static const struct platform_device_id ids[] = { { "fe801000.csi" }, { "1f00110000.csi" }, { } };

/* The name is set before it is registered: it is what a media device gives as its driver. */
struct platform_driver fi_receiver_driver = {
	.probe = probe,
	.remove = remove,
	.id_table = ids,
};

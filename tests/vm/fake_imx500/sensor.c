// SPDX-License-Identifier: GPL-2.0
/*
 * The sensor as a subdevice on an I2C bus that leads nowhere: controls, formats
 * of its two pads, the network, power.
 *
 * As in the real driver the mutex is held for a whole upload, the network file
 * is read inside the control's call, and power is switched off some seconds
 * after the last stream, which forgets the network.
 */
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/firmware.h>
#include <linux/kernel_read_file.h>
#include <linux/module.h>
#include <linux/pm_runtime.h>
#include <linux/seq_file.h>
#include <linux/vmalloc.h>
#include <media/v4l2-event.h>
#include "fake_imx500.h"

#define VBLANK_MIN	1117
#define EXPOSURE_MARGIN	22
#define UPLOAD_STEP	(1 << 20)

/* Frames from a write to its effect, as libcamera has them for this sensor. */
#define DELAY_EXPOSURE	2
#define DELAY_BLANKING	3

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
#define try_format(sd, state, pad) v4l2_subdev_state_get_format(state, pad)
#else
#define try_format(sd, state, pad) v4l2_subdev_get_try_format(sd, state, pad)
#endif

static const struct fi_mode modes[] = {
	{ .width = 4056, .height = 3040, .line_length = 17900 },
	{ .width = 2028, .height = 1520, .line_length = 9398 },
};

static const struct v4l2_rect crop = { .left = 8, .top = 16, .width = 4056, .height = 3040 };

static struct fi_sensor *of_subdev(struct v4l2_subdev *sd)
{
	return container_of(sd, struct fi_sensor, sd);
}

u32 fi_sensor_code(const struct fi_sensor *sensor)
{
	return fi_formats[(sensor->vflip->val ? 2 : 0) | (sensor->hflip->val ? 1 : 0)].code;
}

u32 fi_sensor_metadata_bytes(const struct fi_sensor *sensor)
{
	return FI_REGISTER_BYTES + sensor->dnn_lines * FI_LINE;
}

/* -------------------------------------------------------------- settings and their delays */

static void write_settings(struct fi_sensor *sensor)
{
	spin_lock(&sensor->settings_lock);
	sensor->written = (struct fi_settings){
		.exposure = sensor->exposure->val,
		.gain = sensor->gain->val,
		.frame_length = sensor->mode->height + sensor->vblank->val,
	};
	spin_unlock(&sensor->settings_lock);
}

/* At a stream's start everything that was written holds. */
static void settle_settings(struct fi_sensor *sensor)
{
	unsigned int i;

	write_settings(sensor);
	for (i = 0; i < FI_HISTORY; i++)
		sensor->history[i] = sensor->written;
}

/* What is written during frame n acts in frame n + delay: it is seen when frame n + 1 begins. */
void fi_sensor_begin_frame(struct fi_sensor *sensor, struct fi_frame *frame)
{
	u32 n = frame->number;

	spin_lock(&sensor->settings_lock);
	sensor->history[n % FI_HISTORY] = sensor->written;
	frame->now = sensor->history[(n + FI_HISTORY - (DELAY_EXPOSURE - 1)) % FI_HISTORY];
	frame->now.frame_length =
		sensor->history[(n + FI_HISTORY - (DELAY_BLANKING - 1)) % FI_HISTORY].frame_length;
	spin_unlock(&sensor->settings_lock);
	frame->now.exposure = min(frame->now.exposure, frame->now.frame_length - EXPOSURE_MARGIN);
}

u64 fi_sensor_frame_ns(const struct fi_sensor *sensor, const struct fi_settings *now)
{
	if (fi_faults.frame_us)
		return fi_faults.frame_us * 1000ULL;
	return mul_u64_u32_div((u64)now->frame_length * sensor->mode->line_length, NSEC_PER_SEC, FI_PIXEL_RATE);
}

/* -------------------------------------------------------------- network */

void fi_sensor_drop_network(struct fi_sensor *sensor)
{
	mutex_lock(&sensor->network_lock);
	vfree(sensor->network.data);
	sensor->network = (struct fi_network){ };
	sensor->network_loaded = false;
	sensor->done = 0;
	mutex_unlock(&sensor->network_lock);
}

static int read_network(struct fi_sensor *sensor, int fd)
{
	struct fi_network network = { };
	void *data = NULL;
	size_t size;
	ssize_t got;

	fi_sensor_drop_network(sensor);
	got = kernel_read_file_from_fd(fd, 0, &data, INT_MAX, &size, READING_FIRMWARE);
	if (got < 0)
		return got;
	if (got != size) {
		vfree(data);
		return -EIO;
	}
	network.data = data;
	network.size = size;
	fi_package_read(&network);
	mutex_lock(&sensor->network_lock);
	sensor->network = network;
	sensor->dnn_lines = 2 + network.input_lines + network.output_lines;
	sensor->total = size;
	mutex_unlock(&sensor->network_lock);
	return 0;
}

static int set_network(struct fi_sensor *sensor, int fd)
{
	if (fd < 0)
		return 0;
	if (fd == S32_MAX) {
		if (pm_runtime_get_if_in_use(&sensor->client->dev) <= 0)
			return 0;
		fi_sensor_drop_network(sensor);	/* the pad keeps its size */
		pm_runtime_put_autosuspend(&sensor->client->dev);
		return 0;
	}
	return read_network(sensor, fd);
}

/* Time passes, in steps of 1 MiB, and progress shows; the caller holds the mutex all the while. */
static void upload(struct fi_sensor *sensor, u32 stage, size_t bytes)
{
	u32 steps = max_t(size_t, DIV_ROUND_UP(bytes, UPLOAD_STEP), 1), i;

	sensor->stage = stage;
	sensor->done = 0;
	for (i = 0; i < steps; i++) {
		msleep(fi_faults.upload_ms / steps);
		sensor->done = min_t(size_t, (size_t)(i + 1) * UPLOAD_STEP, bytes);
	}
}

static int load_firmware(struct fi_sensor *sensor)
{
	static const char * const names[] = { "imx500_loader.fpk", "imx500_firmware.fpk" };
	const struct firmware *firmware;
	u32 stage;
	int ret;

	for (stage = 0; fi_faults.need_firmware && stage < ARRAY_SIZE(names); stage++) {
		ret = request_firmware(&firmware, names[stage], &sensor->client->dev);
		if (ret)
			return ret;
		if (!sensor->firmware_loaded)
			upload(sensor, stage, firmware->size);
		release_firmware(firmware);
	}
	sensor->firmware_loaded = true;
	return 0;
}

static int load_network(struct fi_sensor *sensor)
{
	int ret = load_firmware(sensor);

	if (ret || sensor->network_loaded)
		return ret;
	ret = fi_package_check(&sensor->network);
	if (ret)
		return ret;
	upload(sensor, 2, sensor->network.size);
	sensor->done = sensor->network.size;
	sensor->network_loaded = true;
	return 0;
}

static int progress_show(struct seq_file *file, void *data)
{
	struct fi_sensor *sensor = file->private;

	seq_printf(file, "%u %zu %zu\n", sensor->stage, sensor->done, sensor->total);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(progress);

/* -------------------------------------------------------------- controls */

static void adjust_exposure(struct fi_sensor *sensor)
{
	int maximum = sensor->mode->height + sensor->vblank->val - EXPOSURE_MARGIN;

	__v4l2_ctrl_modify_range(sensor->exposure, sensor->exposure->minimum, maximum, 1,
				 min_t(int, maximum, sensor->exposure->val));
}

static int set_control(struct v4l2_ctrl *ctrl)
{
	struct fi_sensor *sensor = container_of(ctrl->handler, struct fi_sensor, controls);
	int ret = 0, fd;

	switch (ctrl->id) {
	case FI_CID_NETWORK_FD:
		fd = ctrl->val;
		ctrl->val = -1;
		ret = set_network(sensor, fd);
		break;
	case V4L2_CID_VBLANK:
		adjust_exposure(sensor);
		write_settings(sensor);
		break;
	case V4L2_CID_EXPOSURE:
	case V4L2_CID_ANALOGUE_GAIN:
		write_settings(sensor);
		break;
	}
	return ret;
}

static const struct v4l2_ctrl_ops control_ops = { .s_ctrl = set_control };

static const s64 link_frequencies[] = { 444000000 };

static const struct v4l2_ctrl_config notify_gains = {
	.ops = &control_ops,
	.id = V4L2_CID_NOTIFY_GAINS,
	.type = V4L2_CTRL_TYPE_U32,
	.min = 1,
	.max = 0xfff,
	.step = 1,
	.def = 0x100,
	.dims = { 4 },
	.elem_size = sizeof(u32),
};

/* The maximum is below the sensor's width: the real driver has it so. */
static const struct v4l2_ctrl_config window = {
	.ops = &control_ops,
	.id = FI_CID_WINDOW,
	.name = "IMX500 Inference Windows",
	.type = V4L2_CTRL_TYPE_U32,
	.flags = V4L2_CTRL_FLAG_EXECUTE_ON_WRITE | V4L2_CTRL_FLAG_HAS_PAYLOAD,
	.min = 0,
	.max = 4032,
	.step = 1,
	.dims = { 4 },
	.elem_size = sizeof(u32),
};

static const struct v4l2_ctrl_config network_fd = {
	.ops = &control_ops,
	.id = FI_CID_NETWORK_FD,
	.name = "IMX500 Network Firmware File FD",
	.type = V4L2_CTRL_TYPE_INTEGER,
	.flags = V4L2_CTRL_FLAG_EXECUTE_ON_WRITE | V4L2_CTRL_FLAG_WRITE_ONLY,
	.min = -1,
	.max = S32_MAX,
	.step = 1,
	.def = -1,
};

/* A change of mode takes the rate back to the mode's fastest. */
static void limit_framing(struct fi_sensor *sensor)
{
	int hblank = sensor->mode->line_length - sensor->mode->width;

	__v4l2_ctrl_modify_range(sensor->vblank, VBLANK_MIN,
				 (FI_FRAME_LENGTH_MAX << FI_LONG_SHIFT_MAX) - sensor->mode->height, 1, VBLANK_MIN);
	__v4l2_ctrl_s_ctrl(sensor->vblank, VBLANK_MIN);
	__v4l2_ctrl_modify_range(sensor->hblank, hblank, hblank, 1, hblank);
	__v4l2_ctrl_s_ctrl(sensor->hblank, hblank);
	adjust_exposure(sensor);
	write_settings(sensor);
}

static int make_controls(struct fi_sensor *sensor)
{
	struct v4l2_ctrl_handler *handler = &sensor->controls;
	struct v4l2_ctrl *link_frequency;

	v4l2_ctrl_handler_init(handler, 16);
	handler->lock = &sensor->mutex;
	v4l2_ctrl_new_std(handler, &control_ops, V4L2_CID_PIXEL_RATE, FI_PIXEL_RATE, FI_PIXEL_RATE, 1, FI_PIXEL_RATE);
	link_frequency = v4l2_ctrl_new_int_menu(handler, &control_ops, V4L2_CID_LINK_FREQ, 0, 0, link_frequencies);
	sensor->vblank = v4l2_ctrl_new_std(handler, &control_ops, V4L2_CID_VBLANK, VBLANK_MIN, 0xffff, 1, VBLANK_MIN);
	sensor->hblank = v4l2_ctrl_new_std(handler, &control_ops, V4L2_CID_HBLANK, 0, 0xffff, 1, 0);
	sensor->exposure = v4l2_ctrl_new_std(handler, &control_ops, V4L2_CID_EXPOSURE, 8, 0xffdc, 1, 1600);
	sensor->gain = v4l2_ctrl_new_std(handler, &control_ops, V4L2_CID_ANALOGUE_GAIN, 0, 978, 1, 0);
	sensor->hflip = v4l2_ctrl_new_std(handler, &control_ops, V4L2_CID_HFLIP, 0, 1, 1, 0);
	sensor->vflip = v4l2_ctrl_new_std(handler, &control_ops, V4L2_CID_VFLIP, 0, 1, 1, 0);
	v4l2_ctrl_new_std_menu(handler, &control_ops, V4L2_CID_CAMERA_ORIENTATION, V4L2_CAMERA_ORIENTATION_EXTERNAL, 0,
			       V4L2_CAMERA_ORIENTATION_EXTERNAL);
	v4l2_ctrl_new_std(handler, &control_ops, V4L2_CID_CAMERA_SENSOR_ROTATION, 0, 0, 1, 0);
	v4l2_ctrl_new_custom(handler, &notify_gains, NULL);
	sensor->window = v4l2_ctrl_new_custom(handler, &window, NULL);
	sensor->network_fd = v4l2_ctrl_new_custom(handler, &network_fd, NULL);
	if (handler->error)
		return handler->error;
	link_frequency->flags |= V4L2_CTRL_FLAG_READ_ONLY;
	sensor->hflip->flags |= V4L2_CTRL_FLAG_MODIFY_LAYOUT;
	sensor->vflip->flags |= V4L2_CTRL_FLAG_MODIFY_LAYOUT;
	sensor->sd.ctrl_handler = handler;
	mutex_lock(&sensor->mutex);
	limit_framing(sensor);
	mutex_unlock(&sensor->mutex);
	return 0;
}

/* -------------------------------------------------------------- pads */

static int enum_code(struct v4l2_subdev *sd, struct v4l2_subdev_state *state, struct v4l2_subdev_mbus_code_enum *code)
{
	if (code->pad >= FI_PADS || code->index > 0)
		return -EINVAL;
	code->code = code->pad == FI_PAD_IMAGE ? fi_sensor_code(of_subdev(sd)) : FI_MBUS_SENSOR_DATA;
	return 0;
}

static int enum_size(struct v4l2_subdev *sd, struct v4l2_subdev_state *state, struct v4l2_subdev_frame_size_enum *size)
{
	struct fi_sensor *sensor = of_subdev(sd);

	if (size->pad >= FI_PADS || size->index >= (size->pad == FI_PAD_IMAGE ? ARRAY_SIZE(modes) : 1))
		return -EINVAL;
	if (size->code != (size->pad == FI_PAD_IMAGE ? fi_sensor_code(sensor) : FI_MBUS_SENSOR_DATA))
		return -EINVAL;
	size->min_width = size->pad == FI_PAD_IMAGE ? modes[size->index].width : fi_sensor_metadata_bytes(sensor);
	size->min_height = size->pad == FI_PAD_IMAGE ? modes[size->index].height : 1;
	size->max_width = size->min_width;
	size->max_height = size->min_height;
	return 0;
}

static struct v4l2_mbus_framefmt image_format(const struct fi_sensor *sensor, const struct fi_mode *mode)
{
	return (struct v4l2_mbus_framefmt){
		.width = mode->width,
		.height = mode->height,
		.code = fi_sensor_code(sensor),
		.field = V4L2_FIELD_NONE,
		.colorspace = V4L2_COLORSPACE_RAW,
		.ycbcr_enc = V4L2_MAP_YCBCR_ENC_DEFAULT(V4L2_COLORSPACE_RAW),
		.quantization = V4L2_QUANTIZATION_FULL_RANGE,
		.xfer_func = V4L2_MAP_XFER_FUNC_DEFAULT(V4L2_COLORSPACE_RAW),
	};
}

static struct v4l2_mbus_framefmt metadata_format(const struct fi_sensor *sensor)
{
	return (struct v4l2_mbus_framefmt){
		.width = fi_sensor_metadata_bytes(sensor),
		.height = 1,
		.code = FI_MBUS_SENSOR_DATA,
		.field = V4L2_FIELD_NONE,
	};
}

static int get_format(struct v4l2_subdev *sd, struct v4l2_subdev_state *state, struct v4l2_subdev_format *format)
{
	struct fi_sensor *sensor = of_subdev(sd);

	if (format->pad >= FI_PADS)
		return -EINVAL;
	mutex_lock(&sensor->mutex);
	if (format->pad == FI_PAD_METADATA)
		format->format = metadata_format(sensor);
	else if (format->which == V4L2_SUBDEV_FORMAT_TRY)
		format->format = *try_format(sd, state, format->pad);
	else
		format->format = image_format(sensor, sensor->mode);
	if (format->pad == FI_PAD_IMAGE)
		format->format.code = fi_sensor_code(sensor);
	mutex_unlock(&sensor->mutex);
	return 0;
}

static int set_format(struct v4l2_subdev *sd, struct v4l2_subdev_state *state, struct v4l2_subdev_format *format)
{
	struct fi_sensor *sensor = of_subdev(sd);
	const struct fi_mode *mode;
	int ret = 0;

	if (format->pad != FI_PAD_IMAGE)
		return get_format(sd, state, format);
	mutex_lock(&sensor->mutex);
	mode = v4l2_find_nearest_size(modes, ARRAY_SIZE(modes), width, height, format->format.width,
				      format->format.height);
	format->format = image_format(sensor, mode);
	if (format->which == V4L2_SUBDEV_FORMAT_TRY) {
		*try_format(sd, state, format->pad) = format->format;
	} else if (sensor->mode != mode) {
		/* The real driver does not refuse, but its stream would break. */
		if (sensor->streaming)
			ret = -EBUSY;
		else
			sensor->mode = mode;
		if (!ret)
			limit_framing(sensor);
	}
	mutex_unlock(&sensor->mutex);
	return ret;
}

static int get_selection(struct v4l2_subdev *sd, struct v4l2_subdev_state *state, struct v4l2_subdev_selection *sel)
{
	switch (sel->target) {
	case V4L2_SEL_TGT_CROP:
	case V4L2_SEL_TGT_CROP_DEFAULT:
	case V4L2_SEL_TGT_CROP_BOUNDS:
		sel->r = crop;
		return 0;
	case V4L2_SEL_TGT_NATIVE_SIZE:
		sel->r = (struct v4l2_rect){ .width = 4072, .height = 3176 };
		return 0;
	}
	return -EINVAL;
}

static int opened(struct v4l2_subdev *sd, struct v4l2_subdev_fh *fh)
{
	struct fi_sensor *sensor = of_subdev(sd);

	*try_format(sd, fh->state, FI_PAD_IMAGE) = image_format(sensor, &modes[0]);
	*try_format(sd, fh->state, FI_PAD_METADATA) = metadata_format(sensor);
	return 0;
}

/* -------------------------------------------------------------- streaming and power */

static int start(struct fi_sensor *sensor)
{
	int ret = pm_runtime_resume_and_get(&sensor->client->dev);

	if (ret < 0)
		return ret;
	if (fi_faults.i2c_errors) {
		fi_faults.i2c_errors--;
		ret = -EREMOTEIO;
	}
	if (!ret && sensor->network.data)
		ret = load_network(sensor);
	if (!ret)
		ret = __v4l2_ctrl_handler_setup(&sensor->controls);
	if (ret)
		pm_runtime_put_autosuspend(&sensor->client->dev);
	else
		settle_settings(sensor);
	return ret;
}

static int set_stream(struct v4l2_subdev *sd, int enable)
{
	struct fi_sensor *sensor = of_subdev(sd);
	int ret = 0;

	mutex_lock(&sensor->mutex);
	if (sensor->streaming == enable)
		goto unlock;
	if (enable) {
		ret = start(sensor);
		if (ret)
			goto unlock;
	} else {
		pm_runtime_mark_last_busy(&sensor->client->dev);
		pm_runtime_put_autosuspend(&sensor->client->dev);
	}
	sensor->streaming = enable;
	__v4l2_ctrl_grab(sensor->hflip, enable);
	__v4l2_ctrl_grab(sensor->vflip, enable);
	__v4l2_ctrl_grab(sensor->network_fd, enable);
unlock:
	mutex_unlock(&sensor->mutex);
	return ret;
}

static int suspend(struct device *dev)
{
	struct fi_sensor *sensor = of_subdev(dev_get_drvdata(dev));

	fi_sensor_drop_network(sensor);
	sensor->firmware_loaded = false;
	return 0;
}

static int resume(struct device *dev)
{
	return 0;
}

static const struct dev_pm_ops pm_ops = { SET_RUNTIME_PM_OPS(suspend, resume, NULL) };

static const struct v4l2_subdev_core_ops core_ops = {
	.subscribe_event = v4l2_ctrl_subdev_subscribe_event,
	.unsubscribe_event = v4l2_event_subdev_unsubscribe,
};
static const struct v4l2_subdev_video_ops video_ops = { .s_stream = set_stream };
static const struct v4l2_subdev_pad_ops pad_ops = {
	.enum_mbus_code = enum_code,
	.enum_frame_size = enum_size,
	.get_fmt = get_format,
	.set_fmt = set_format,
	.get_selection = get_selection,
};
static const struct v4l2_subdev_ops subdev_ops = { .core = &core_ops, .video = &video_ops, .pad = &pad_ops };
static const struct v4l2_subdev_internal_ops internal_ops = { .open = opened };

/* -------------------------------------------------------------- the device */

static int probe(struct i2c_client *client)
{
	struct device *dev = &client->dev;
	struct fi_sensor *sensor = kzalloc(sizeof(*sensor), GFP_KERNEL);
	char directory[64];
	int ret;

	if (!sensor)
		return -ENOMEM;
	sensor->client = client;
	sensor->mode = &modes[0];
	mutex_init(&sensor->mutex);
	mutex_init(&sensor->network_lock);
	spin_lock_init(&sensor->settings_lock);
	v4l2_i2c_subdev_init(&sensor->sd, client, &subdev_ops);
	sensor->sd.internal_ops = &internal_ops;
	sensor->sd.flags |= V4L2_SUBDEV_FL_HAS_DEVNODE | V4L2_SUBDEV_FL_HAS_EVENTS;
	sensor->sd.entity.function = MEDIA_ENT_F_CAM_SENSOR;
	sensor->pads[FI_PAD_IMAGE].flags = MEDIA_PAD_FL_SOURCE;
	sensor->pads[FI_PAD_METADATA].flags = MEDIA_PAD_FL_SOURCE;
	ret = make_controls(sensor);
	if (ret)
		goto free;
	ret = media_entity_pads_init(&sensor->sd.entity, FI_PADS, sensor->pads);
	if (ret)
		goto free;

	pm_runtime_set_active(dev);
	pm_runtime_get_noresume(dev);
	pm_runtime_enable(dev);
	pm_runtime_set_autosuspend_delay(dev, fi_faults.autosuspend_ms);
	pm_runtime_use_autosuspend(dev);
	pm_runtime_put_autosuspend(dev);
	snprintf(directory, sizeof(directory), "imx500-fw:%s", dev_name(dev));
	sensor->progress = debugfs_create_dir(directory, NULL);
	debugfs_create_file("fw_progress", 0444, sensor->progress, sensor, &progress_fops);
	return 0;

free:
	v4l2_ctrl_handler_free(&sensor->controls);
	kfree(sensor);
	return ret;
}

static void remove(struct i2c_client *client)
{
	struct fi_sensor *sensor = of_subdev(i2c_get_clientdata(client));

	debugfs_remove_recursive(sensor->progress);
	pm_runtime_disable(&client->dev);
	pm_runtime_set_suspended(&client->dev);
	v4l2_device_unregister_subdev(&sensor->sd);
	media_entity_cleanup(&sensor->sd.entity);
	v4l2_ctrl_handler_free(&sensor->controls);
	fi_sensor_drop_network(sensor);
	kfree(sensor);
}

static const struct i2c_device_id ids[] = { { "imx500" }, { } };

struct i2c_driver fi_sensor_driver = {
	.driver = { .name = "imx500", .pm = &pm_ops },
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	.probe = probe,
#else
	.probe_new = probe,
#endif
	.remove = remove,
	.id_table = ids,
};

// SPDX-License-Identifier: GPL-2.0
/*
 * Video nodes: formats, buffers, and when the sensor runs.
 *
 * unicam: the picture and the metadata node; the sensor starts with the last of
 * those that are open. rp1-cfe: every node whose link is enabled must stream.
 */
#include <linux/module.h>
#include <media/v4l2-event.h>
#include <media/v4l2-ioctl.h>
#include <media/videobuf2-vmalloc.h>
#include "fake_imx500.h"

#define METADATA_BYTES	16384
#define METADATA_MAX	(16 << 20)

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
#define min_buffers min_queued_buffers
#else
#define min_buffers min_buffers_needed
#endif

static bool is_metadata(const struct fi_node *node)
{
	return node->vdev.device_caps & (V4L2_CAP_META_CAPTURE | V4L2_CAP_META_OUTPUT);
}

/* -------------------------------------------------------------- buffers */

static u32 buffer_bytes(const struct fi_node *node)
{
	return is_metadata(node) ? node->format.fmt.meta.buffersize : node->format.fmt.pix.sizeimage;
}

static int queue_setup(struct vb2_queue *queue, unsigned int *count, unsigned int *planes, unsigned int sizes[],
		       struct device *devices[])
{
	struct fi_node *node = vb2_get_drv_priv(queue);

	if (*planes)
		return sizes[0] < buffer_bytes(node) ? -EINVAL : 0;
	*planes = 1;
	sizes[0] = buffer_bytes(node);
	return 0;
}

static int buffer_prepare(struct vb2_buffer *vb)
{
	struct fi_node *node = vb2_get_drv_priv(vb->vb2_queue);

	return vb2_plane_size(vb, 0) < buffer_bytes(node) ? -EINVAL : 0;
}

static void buffer_queue(struct vb2_buffer *vb)
{
	struct fi_node *node = vb2_get_drv_priv(vb->vb2_queue);
	struct fi_buffer *buffer = container_of(to_vb2_v4l2_buffer(vb), struct fi_buffer, vb);

	spin_lock(&node->receiver->buffers_lock);
	list_add_tail(&buffer->list, &node->buffers);
	spin_unlock(&node->receiver->buffers_lock);
}

static void return_buffers(struct fi_node *node, enum vb2_buffer_state state)
{
	struct fi_buffer *buffer, *next;
	LIST_HEAD(all);

	spin_lock(&node->receiver->buffers_lock);
	list_splice_init(&node->buffers, &all);
	spin_unlock(&node->receiver->buffers_lock);
	list_for_each_entry_safe(buffer, next, &all, list) {
		list_del(&buffer->list);
		vb2_buffer_done(&buffer->vb.vb2_buf, state);
	}
}

static int start_streaming(struct vb2_queue *queue, unsigned int count)
{
	struct fi_node *node = vb2_get_drv_priv(queue);
	struct fi_receiver *receiver = node->receiver;
	int ret;

	mutex_lock(&receiver->lock);
	ret = media_pipeline_start(&node->pad, receiver->layout->starved_loses_frame ? &receiver->pipe : &node->pipe);
	if (ret)
		goto unlock;
	node->streaming = true;
	if (!receiver->thread && fi_receiver_complete(receiver)) {
		ret = v4l2_subdev_call(&receiver->sensor->sd, video, s_stream, 1);
		if (!ret) {
			ret = fi_frames_start(receiver);
			if (ret)
				v4l2_subdev_call(&receiver->sensor->sd, video, s_stream, 0);
		}
	}
	if (ret) {
		node->streaming = false;
		media_pipeline_stop(&node->pad);
	}
unlock:
	mutex_unlock(&receiver->lock);
	if (ret)
		return_buffers(node, VB2_BUF_STATE_QUEUED);
	return ret;
}

/* unicam stops with the picture, rp1-cfe with the last node. */
static bool sensor_needed(struct fi_receiver *receiver)
{
	unsigned int i;

	for (i = 0; i < receiver->layout->node_count; i++) {
		struct fi_node *node = &receiver->nodes[i];

		if (node->streaming && (node->role == FI_IMAGE || receiver->layout->starved_loses_frame))
			return true;
	}
	return false;
}

static void stop_streaming(struct vb2_queue *queue)
{
	struct fi_node *node = vb2_get_drv_priv(queue);
	struct fi_receiver *receiver = node->receiver;

	mutex_lock(&receiver->lock);
	mutex_lock(&receiver->frame_lock);
	node->streaming = false;
	mutex_unlock(&receiver->frame_lock);
	if (receiver->thread && !sensor_needed(receiver)) {
		fi_frames_stop(receiver);
		v4l2_subdev_call(&receiver->sensor->sd, video, s_stream, 0);
	}
	media_pipeline_stop(&node->pad);
	mutex_unlock(&receiver->lock);
	return_buffers(node, VB2_BUF_STATE_ERROR);
}

static const struct vb2_ops queue_ops = {
	.queue_setup = queue_setup,
	.buf_prepare = buffer_prepare,
	.buf_queue = buffer_queue,
	.start_streaming = start_streaming,
	.stop_streaming = stop_streaming,
	.wait_prepare = vb2_ops_wait_prepare,
	.wait_finish = vb2_ops_wait_finish,
};

/* -------------------------------------------------------------- formats */

/* 0: not a format of this receiver. */
static u32 pixel_format(const struct fi_layout *layout, unsigned int index)
{
	const struct fi_format *format = &fi_formats[index / 2 % ARRAY_SIZE(fi_formats)];

	if (index >= 2 * ARRAY_SIZE(fi_formats))
		return 0;
	if (index % 2 == 0)
		return format->packed;
	return layout->upper_bits ? format->upper : format->unpacked;
}

static u32 code_of(const struct fi_layout *layout, u32 fourcc)
{
	unsigned int i;

	for (i = 0; pixel_format(layout, i); i++)
		if (pixel_format(layout, i) == fourcc)
			return fi_formats[i / 2].code;
	return 0;
}

static bool is_packed(u32 fourcc)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(fi_formats); i++)
		if (fi_formats[i].packed == fourcc)
			return true;
	return false;
}

static void adjust_picture(const struct fi_layout *layout, struct v4l2_pix_format *pix)
{
	u32 line;

	if (!code_of(layout, pix->pixelformat))
		pix->pixelformat = fi_formats[0].packed;
	pix->width = clamp(pix->width, 16U, 16380U) & ~3U;
	pix->height = clamp(pix->height, 16U, 16380U);
	line = is_packed(pix->pixelformat) ? pix->width * 5 / 4 : pix->width * 2;
	pix->bytesperline = ALIGN(clamp(pix->bytesperline, line, 4 * line), layout->picture_alignment);
	pix->sizeimage = pix->bytesperline * pix->height;
	pix->field = V4L2_FIELD_NONE;
	pix->colorspace = V4L2_COLORSPACE_RAW;
	pix->ycbcr_enc = V4L2_YCBCR_ENC_DEFAULT;
	pix->quantization = V4L2_QUANTIZATION_DEFAULT;
	pix->xfer_func = V4L2_XFER_FUNC_DEFAULT;
}

static void adjust_metadata(const struct fi_layout *layout, struct v4l2_meta_format *meta)
{
	meta->dataformat = FI_META_SENSOR_DATA;
	if (!meta->buffersize)
		meta->buffersize = METADATA_BYTES;
	meta->buffersize = ALIGN(min_t(u32, meta->buffersize, METADATA_MAX), layout->metadata_alignment);
}

static void adjust(struct fi_node *node, struct v4l2_format *format)
{
	if (is_metadata(node))
		adjust_metadata(node->receiver->layout, &format->fmt.meta);
	else
		adjust_picture(node->receiver->layout, &format->fmt.pix);
}

static int querycap(struct file *file, void *priv, struct v4l2_capability *cap)
{
	struct fi_receiver *receiver = ((struct fi_node *)video_drvdata(file))->receiver;
	unsigned int i;

	strscpy(cap->driver, receiver->layout->name, sizeof(cap->driver));
	strscpy(cap->card, receiver->layout->name, sizeof(cap->card));
	snprintf(cap->bus_info, sizeof(cap->bus_info), "platform:%s", dev_name(&receiver->pdev->dev));
	/* Those of the whole device; the core adds the node's own. */
	for (i = 0; i < receiver->layout->node_count; i++)
		cap->capabilities |= receiver->layout->nodes[i].caps;
	return 0;
}

static int enum_picture_format(struct file *file, void *priv, struct v4l2_fmtdesc *desc)
{
	struct fi_node *node = video_drvdata(file);
	unsigned int i, left = desc->index;

	for (i = 0; pixel_format(node->receiver->layout, i); i++) {
		if (desc->mbus_code && desc->mbus_code != fi_formats[i / 2].code)
			continue;
		if (left-- == 0) {
			desc->pixelformat = pixel_format(node->receiver->layout, i);
			return 0;
		}
	}
	return -EINVAL;
}

static int enum_metadata_format(struct file *file, void *priv, struct v4l2_fmtdesc *desc)
{
	if (desc->index > 0 || (desc->mbus_code && desc->mbus_code != FI_MBUS_SENSOR_DATA))
		return -EINVAL;
	desc->pixelformat = FI_META_SENSOR_DATA;
	strscpy(desc->description, "Sensor Ancillary Metadata", sizeof(desc->description));
	return 0;
}

static int get_format(struct file *file, void *priv, struct v4l2_format *format)
{
	*format = ((struct fi_node *)video_drvdata(file))->format;
	return 0;
}

static int try_format(struct file *file, void *priv, struct v4l2_format *format)
{
	adjust(video_drvdata(file), format);
	return 0;
}

static int set_format(struct file *file, void *priv, struct v4l2_format *format)
{
	struct fi_node *node = video_drvdata(file);

	if (vb2_is_busy(&node->queue))
		return -EBUSY;
	adjust(node, format);
	node->format = *format;
	return 0;
}

static int subscribe(struct v4l2_fh *fh, const struct v4l2_event_subscription *sub)
{
	struct fi_node *node = video_get_drvdata(fh->vdev);

	if (sub->type == V4L2_EVENT_FRAME_SYNC && node->role == FI_IMAGE)
		return v4l2_event_subscribe(fh, sub, 2, NULL);
	return v4l2_ctrl_subscribe_event(fh, sub);
}

static const struct v4l2_ioctl_ops ioctl_ops = {
	.vidioc_querycap = querycap,
	.vidioc_enum_fmt_vid_cap = enum_picture_format,
	.vidioc_g_fmt_vid_cap = get_format,
	.vidioc_s_fmt_vid_cap = set_format,
	.vidioc_try_fmt_vid_cap = try_format,
	.vidioc_enum_fmt_meta_cap = enum_metadata_format,
	.vidioc_g_fmt_meta_cap = get_format,
	.vidioc_s_fmt_meta_cap = set_format,
	.vidioc_try_fmt_meta_cap = try_format,
	.vidioc_enum_fmt_meta_out = enum_metadata_format,
	.vidioc_g_fmt_meta_out = get_format,
	.vidioc_s_fmt_meta_out = set_format,
	.vidioc_try_fmt_meta_out = try_format,
	.vidioc_reqbufs = vb2_ioctl_reqbufs,
	.vidioc_create_bufs = vb2_ioctl_create_bufs,
	.vidioc_prepare_buf = vb2_ioctl_prepare_buf,
	.vidioc_querybuf = vb2_ioctl_querybuf,
	.vidioc_qbuf = vb2_ioctl_qbuf,
	.vidioc_dqbuf = vb2_ioctl_dqbuf,
	.vidioc_expbuf = vb2_ioctl_expbuf,
	.vidioc_streamon = vb2_ioctl_streamon,
	.vidioc_streamoff = vb2_ioctl_streamoff,
	.vidioc_subscribe_event = subscribe,
	.vidioc_unsubscribe_event = v4l2_event_unsubscribe,
};

/* -------------------------------------------------------------- links */

/* A node's format against that of the pad that feeds it. */
static int validate(struct media_link *link)
{
	struct video_device *vdev = media_entity_to_video_device(link->sink->entity);
	struct fi_node *node = video_get_drvdata(vdev);
	const struct fi_layout *layout = node->receiver->layout;
	struct v4l2_subdev_format source = { .which = V4L2_SUBDEV_FORMAT_ACTIVE, .pad = link->source->index };
	const struct v4l2_pix_format *pix = &node->format.fmt.pix;
	int ret, mismatch = layout->starved_loses_frame ? -EINVAL : -EPIPE;

	/* A pipeline has all nodes that can be reached; those that nobody uses do not matter. */
	if (!node->opened || node->role == FI_UNUSED)
		return 0;
	ret = v4l2_subdev_call(media_entity_to_v4l2_subdev(link->source->entity), pad, get_fmt, NULL, &source);
	if (ret)
		return ret;
	if (!is_metadata(node))
		return source.format.width != pix->width || source.format.height != pix->height ||
		       source.format.code != code_of(layout, pix->pixelformat) ? mismatch : 0;
	if (source.format.code != FI_MBUS_SENSOR_DATA)
		return mismatch;
	if (layout->metadata_alignment == 1)
		return source.format.width != buffer_bytes(node) ? mismatch : 0;
	return source.format.width > buffer_bytes(node) ? mismatch : 0;
}

static const struct media_entity_operations entity_ops = { .link_validate = validate };

/* -------------------------------------------------------------- the device */

static int node_open(struct file *file)
{
	struct fi_node *node = video_drvdata(file);
	int ret = v4l2_fh_open(file);

	if (ret)
		return ret;
	mutex_lock(&node->lock);
	node->opened++;
	mutex_unlock(&node->lock);
	return 0;
}

static int node_release(struct file *file)
{
	struct fi_node *node = video_drvdata(file);

	mutex_lock(&node->lock);
	node->opened--;
	mutex_unlock(&node->lock);
	return vb2_fop_release(file);
}

static const struct v4l2_file_operations fops = {
	.owner = THIS_MODULE,
	.open = node_open,
	.release = node_release,
	.poll = vb2_fop_poll,
	.mmap = vb2_fop_mmap,
	.unlocked_ioctl = video_ioctl2,
};

static u32 buffer_type(u32 caps)
{
	if (caps & V4L2_CAP_META_OUTPUT)
		return V4L2_BUF_TYPE_META_OUTPUT;
	return caps & V4L2_CAP_META_CAPTURE ? V4L2_BUF_TYPE_META_CAPTURE : V4L2_BUF_TYPE_VIDEO_CAPTURE;
}

int fi_node_register(struct fi_receiver *receiver, unsigned int index)
{
	const struct fi_node_description *description = &receiver->layout->nodes[index];
	struct fi_node *node = &receiver->nodes[index];
	struct video_device *vdev = &node->vdev;
	struct vb2_queue *queue = &node->queue;
	int ret;

	node->receiver = receiver;
	node->role = description->role;
	INIT_LIST_HEAD(&node->buffers);
	mutex_init(&node->lock);

	strscpy(vdev->name, description->name, sizeof(vdev->name));
	vdev->device_caps = description->caps | V4L2_CAP_STREAMING | V4L2_CAP_IO_MC;
	vdev->fops = &fops;
	vdev->ioctl_ops = &ioctl_ops;
	vdev->release = video_device_release_empty;
	vdev->v4l2_dev = &receiver->v4l2;
	vdev->vfl_dir = description->source ? VFL_DIR_TX : VFL_DIR_RX;
	vdev->lock = &node->lock;
	vdev->queue = queue;
	vdev->entity.ops = &entity_ops;
	video_set_drvdata(vdev, node);

	node->format.type = buffer_type(description->caps);
	if (!is_metadata(node)) {
		node->format.fmt.pix.width = 4056;
		node->format.fmt.pix.height = 3040;
	}
	adjust(node, &node->format);

	queue->type = node->format.type;
	queue->io_modes = VB2_MMAP | VB2_DMABUF;
	queue->drv_priv = node;
	queue->ops = &queue_ops;
	queue->mem_ops = &vb2_vmalloc_memops;
	queue->buf_struct_size = sizeof(struct fi_buffer);
	queue->timestamp_flags = V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
	queue->min_buffers = 1;
	queue->lock = &node->lock;
	queue->dev = &receiver->pdev->dev;
	ret = vb2_queue_init(queue);
	if (ret)
		return ret;
	node->pad.flags = description->source ? MEDIA_PAD_FL_SOURCE : MEDIA_PAD_FL_SINK;
	ret = media_entity_pads_init(&vdev->entity, 1, &node->pad);
	if (ret)
		return ret;
	ret = video_register_device(vdev, VFL_TYPE_VIDEO, -1);
	node->registered = !ret;
	return ret;
}

/* Streams end, sleepers wake with an error; memory stays until the last program lets go. */
void fi_node_unregister(struct fi_node *node)
{
	if (node->registered)
		vb2_video_unregister_device(&node->vdev);
	node->registered = false;
}

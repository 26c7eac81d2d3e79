// SPDX-License-Identifier: GPL-2.0
/*
 * The sensor's time. A thread begins a frame whenever the one before is over. A
 * machine that is too slow to make frames in time makes them longer, never
 * fewer: what is lost was lost by the program, or by wish.
 *
 * Both nodes get a frame with the same number and time. A node without a buffer
 * loses it: alone on unicam, for all nodes on rp1-cfe.
 */
#include <linux/hrtimer.h>
#include <linux/kthread.h>
#include <media/v4l2-event.h>
#include "fake_imx500.h"

static bool every(uint count, u32 number)
{
	return count && number % count == count - 1;
}

static struct fi_node *node_of(struct fi_receiver *receiver, enum fi_role role)
{
	unsigned int i;

	for (i = 0; i < receiver->layout->node_count; i++)
		if (receiver->nodes[i].role == role && receiver->nodes[i].streaming)
			return &receiver->nodes[i];
	return NULL;
}

static struct fi_buffer *take(struct fi_node *node)
{
	struct fi_receiver *receiver = node->receiver;
	struct fi_buffer *buffer;

	spin_lock(&receiver->buffers_lock);
	buffer = list_first_entry_or_null(&node->buffers, struct fi_buffer, list);
	if (buffer)
		list_del(&buffer->list);
	spin_unlock(&receiver->buffers_lock);
	return buffer;
}

static void give_back(struct fi_node *node, struct fi_buffer *buffer)
{
	spin_lock(&node->receiver->buffers_lock);
	list_add(&buffer->list, &node->buffers);
	spin_unlock(&node->receiver->buffers_lock);
}

static void tell_frame_sync(struct fi_node *node, u32 number)
{
	struct v4l2_event event = { .type = V4L2_EVENT_FRAME_SYNC };

	event.u.frame_sync.frame_sequence = number;
	v4l2_event_queue(&node->vdev, &event);
}

static void fill(struct fi_node *node, struct fi_buffer *buffer, const struct fi_frame *frame)
{
	struct vb2_buffer *vb = &buffer->vb.vb2_buf;

	if (node->role == FI_IMAGE) {
		fi_picture_fill(node->receiver->sensor, frame, &node->format.fmt.pix, vb2_plane_vaddr(vb, 0));
		vb2_set_plane_payload(vb, 0, node->format.fmt.pix.sizeimage);
	} else {
		fi_metadata_fill(node->receiver->sensor, frame, vb2_plane_vaddr(vb, 0), node->format.fmt.meta.buffersize);
		vb2_set_plane_payload(vb, 0, node->format.fmt.meta.buffersize);
	}
	buffer->vb.sequence = frame->number;
	buffer->vb.field = V4L2_FIELD_NONE;
}

static void hand_out(struct fi_node *node, struct fi_buffer *buffer, const struct fi_frame *frame, u64 began_ns)
{
	bool broken = node->role == FI_IMAGE && every(fi_faults.error_every, frame->number);

	buffer->vb.vb2_buf.timestamp = began_ns;
	fi_count_done(node->role, broken);
	vb2_buffer_done(&buffer->vb.vb2_buf, broken ? VB2_BUF_STATE_ERROR : VB2_BUF_STATE_DONE);
}

static void one_frame(struct fi_receiver *receiver, const struct fi_frame *frame, u64 duration_ns)
{
	struct fi_node *nodes[FI_ROLES];
	struct fi_buffer *buffers[FI_ROLES] = { };
	bool starved = false;
	u64 began_ns;
	int role;

	mutex_lock(&receiver->frame_lock);
	fi_count_frame(&frame->now);
	for (role = 0; role < FI_ROLES; role++) {
		nodes[role] = node_of(receiver, role);
		if (!nodes[role])
			continue;
		if (role == FI_IMAGE)
			tell_frame_sync(nodes[role], frame->number);
		if (every(role == FI_IMAGE ? fi_faults.drop_image_every : fi_faults.drop_metadata_every, frame->number)) {
			fi_count_skip(role, frame->number, FI_FAULT);
			nodes[role] = NULL;
			continue;
		}
		buffers[role] = take(nodes[role]);
		if (!buffers[role]) {
			fi_count_skip(role, frame->number, FI_STARVED);
			starved = true;
		}
	}
	for (role = 0; role < FI_ROLES; role++) {
		if (!buffers[role])
			continue;
		if (starved && receiver->layout->starved_loses_frame) {
			give_back(nodes[role], buffers[role]);
			fi_count_skip(role, frame->number, FI_OTHER_STARVED);
			buffers[role] = NULL;
		} else {
			fill(nodes[role], buffers[role], frame);
		}
	}
	/* Both at the frame's end, as on the wire, which is at most a frame time after its beginning. */
	preempt_disable();
	began_ns = max(frame->started_ns, ktime_get_ns() - duration_ns);
	for (role = FI_ROLES - 1; role >= 0; role--)
		if (buffers[role])
			hand_out(nodes[role], buffers[role], frame, began_ns);
	preempt_enable();
	mutex_unlock(&receiver->frame_lock);
}

static bool hangs(u32 number)
{
	if (!fi_faults.hang_after || number < fi_faults.hang_after || !fi_faults.hang_times)
		return false;
	if (fi_faults.hang_times > 0)
		fi_faults.hang_times--;
	fi_count_hang();
	return true;
}

static void sleep_until(u64 ns)
{
	ktime_t until = ns_to_ktime(ns);

	set_current_state(TASK_INTERRUPTIBLE);
	if (kthread_should_stop())
		__set_current_state(TASK_RUNNING);
	else
		schedule_hrtimeout(&until, HRTIMER_MODE_ABS);
}

static int run(void *data)
{
	struct fi_receiver *receiver = data;
	struct fi_frame frame = { .started_ns = ktime_get_ns() };
	bool hung = false;

	while (!kthread_should_stop()) {
		u64 duration_ns;

		if (hung) {
			set_current_state(TASK_INTERRUPTIBLE);
			if (!kthread_should_stop())
				schedule();
			__set_current_state(TASK_RUNNING);
			continue;
		}
		if (ktime_get_ns() < frame.started_ns) {
			sleep_until(frame.started_ns);
			continue;
		}
		if (hangs(frame.number)) {
			hung = true;
			continue;
		}
		fi_sensor_begin_frame(receiver->sensor, &frame);
		duration_ns = fi_sensor_frame_ns(receiver->sensor, &frame.now);
		one_frame(receiver, &frame, duration_ns);
		frame.started_ns += duration_ns;
		if (ktime_get_ns() > frame.started_ns + duration_ns) {
			frame.started_ns = ktime_get_ns();
			fi_count_stretched();
		}
		frame.number++;
	}
	return 0;
}

int fi_frames_start(struct fi_receiver *receiver)
{
	struct task_struct *thread;

	fi_count_stream();
	thread = kthread_run(run, receiver, "fake-imx500");
	if (IS_ERR(thread))
		return PTR_ERR(thread);
	receiver->thread = thread;
	return 0;
}

void fi_frames_stop(struct fi_receiver *receiver)
{
	if (receiver->thread)
		kthread_stop(receiver->thread);
	receiver->thread = NULL;
}

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A Sony IMX500 and its receiver that exist in memory only.
 *
 * The path of a frame: sensor.c says what the chip works with (exposure, gain,
 * frame length, each with its delay), frames.c keeps the time and hands the
 * frame to the nodes that stream, metadata.c and picture.c fill their buffers.
 * faults.c holds the parameters and counts what was left out, and why.
 */
#ifndef FAKE_IMX500_H
#define FAKE_IMX500_H

#include <linux/i2c.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/seq_file.h>
#include <linux/spinlock.h>
#include <linux/version.h>
#include <linux/videodev2.h>
#include <media/media-device.h>
#include <media/v4l2-ctrls.h>
#include <media/v4l2-device.h>
#include <media/v4l2-subdev.h>
#include <media/videobuf2-v4l2.h>
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
#include <linux/unaligned.h>
#else
#include <asm/unaligned.h>
#endif

/* Downstream names: mainline has them under other numbers or not at all. */
#define FI_MBUS_SENSOR_DATA	0x7002
#define FI_META_SENSOR_DATA	v4l2_fourcc('S', 'E', 'N', 'S')
#define FI_CID_BASE		(V4L2_CID_USER_BASE + 0x2000)
#define FI_CID_WINDOW		(FI_CID_BASE + 0)
#define FI_CID_NETWORK_FD	(FI_CID_BASE + 1)

#define FI_PIXEL_RATE		744000000U
#define FI_LINE			2560	/* bytes of a line of the network */
#define FI_REGISTER_BYTES	10144	/* what the pad adds for two register lines */
#define FI_FRAME_LENGTH_MAX	0xffdc
#define FI_LONG_SHIFT_MAX	7

enum { FI_PAD_IMAGE, FI_PAD_METADATA, FI_PADS };

struct fi_mode {
	u32 width, height;
	u32 line_length;	/* pixel clocks */
};

/* What the chip works with in one frame. */
struct fi_settings {
	u32 exposure;		/* lines */
	u32 gain;		/* code: 1024 - 1024 / gain */
	u32 frame_length;	/* lines */
};

/* A package, as the driver read it. */
struct fi_network {
	u8 *data;
	size_t size;
	u16 input_lines, output_lines;	/* with their header lines; 0: unknown */
	u32 apparams_size;		/* rounded up to 16; 0: none found */
};

#define FI_HISTORY 8

struct fi_sensor {
	struct i2c_client *client;
	struct v4l2_subdev sd;
	struct media_pad pads[FI_PADS];
	struct mutex mutex;	/* controls, formats, streaming: held for an upload */
	struct v4l2_ctrl_handler controls;
	struct v4l2_ctrl *vblank, *hblank, *exposure, *gain, *hflip, *vflip;
	struct v4l2_ctrl *window, *network_fd;
	const struct fi_mode *mode;
	bool streaming;

	struct mutex network_lock;	/* network, dnn_lines: taken inside mutex */
	struct fi_network network;
	bool network_loaded, firmware_loaded;
	u32 dnn_lines;			/* of the metadata pad; outlives the network */
	u32 stage;			/* progress of an upload */
	size_t done, total;

	spinlock_t settings_lock;	/* written, history */
	struct fi_settings written;
	struct fi_settings history[FI_HISTORY];

	struct dentry *progress;
};

/* One frame on its way to the nodes. */
struct fi_frame {
	u32 number;		/* since the stream's start */
	u64 started_ns;		/* monotonic */
	struct fi_settings now;
};

struct fi_format {
	u32 code;
	u32 packed, unpacked, upper;	/* 4 pixels in 5 bytes; low bits of 16; high bits of 16 */
};

struct fi_buffer {
	struct vb2_v4l2_buffer vb;
	struct list_head list;
};

struct fi_layout;
struct fi_receiver;

/* What a node does; two of them carry data. */
enum fi_role { FI_IMAGE, FI_METADATA, FI_ROLES, FI_UNUSED = FI_ROLES };

struct fi_node {
	struct fi_receiver *receiver;
	enum fi_role role;
	struct video_device vdev;
	struct media_pad pad;
	struct vb2_queue queue;
	struct mutex lock;		/* of queue and vdev */
	struct media_pipeline pipe;	/* unicam: two pads of a sensor are two pipelines */
	struct v4l2_format format;
	struct list_head buffers;	/* under receiver->buffers_lock */
	unsigned int opened;		/* under lock */
	bool streaming;			/* under receiver->lock */
	bool registered;
};

#define FI_NODES_MAX 8
#define FI_CSI2_PADS 8
#define FI_FE_PADS 5

struct fi_receiver {
	const struct fi_layout *layout;
	struct platform_device *pdev;
	struct media_device mdev;
	struct v4l2_device v4l2;
	struct fi_sensor *sensor;
	struct fi_node nodes[FI_NODES_MAX];
	struct media_pipeline pipe;	/* rp1-cfe: csi2 joins all nodes in one */

	struct v4l2_subdev csi2, fe;
	struct media_pad csi2_pads[FI_CSI2_PADS], fe_pads[FI_FE_PADS];
	struct v4l2_mbus_framefmt csi2_formats[FI_CSI2_PADS];

	struct mutex lock;		/* streaming of the nodes, thread */
	struct task_struct *thread;
	struct mutex frame_lock;	/* held while a frame is written */
	spinlock_t buffers_lock;
};

struct fi_node_description {
	const char *name;
	enum fi_role role;
	u32 caps;			/* V4L2_CAP_* */
	bool source;			/* of data: a configuration node */
};

struct fi_layout {
	const char *name;		/* of driver, media device and nodes */
	const char *device;		/* platform device */
	int i2c_bus;
	u32 picture_alignment;		/* of a picture's lines */
	u32 metadata_alignment;		/* of a metadata buffer */
	bool register_lines_aligned;	/* to 16 bytes, by the receiver */
	bool starved_loses_frame;	/* a node without a buffer costs all nodes the frame */
	bool upper_bits;		/* 16-bit pixels use the upper bits */
	const struct fi_node_description *nodes;
	unsigned int node_count;
};

/* module.c */
extern const struct fi_layout *fi_layout;

/* sensor.c */
extern struct i2c_driver fi_sensor_driver;
u32 fi_sensor_code(const struct fi_sensor *sensor);
u32 fi_sensor_metadata_bytes(const struct fi_sensor *sensor);
void fi_sensor_begin_frame(struct fi_sensor *sensor, struct fi_frame *frame);
u64 fi_sensor_frame_ns(const struct fi_sensor *sensor, const struct fi_settings *now);
void fi_sensor_drop_network(struct fi_sensor *sensor);

/* package.c */
void fi_package_read(struct fi_network *network);
int fi_package_check(const struct fi_network *network);

/* metadata.c */
void fi_metadata_fill(struct fi_sensor *sensor, const struct fi_frame *frame, u8 *out, size_t size);

/* picture.c */
extern const struct fi_format fi_formats[4];
void fi_picture_fill(struct fi_sensor *sensor, const struct fi_frame *frame, const struct v4l2_pix_format *pix, u8 *out);

/* frames.c */
int fi_frames_start(struct fi_receiver *receiver);
void fi_frames_stop(struct fi_receiver *receiver);

/* node.c */
int fi_node_register(struct fi_receiver *receiver, unsigned int index);
void fi_node_unregister(struct fi_node *node);

/* receiver.c */
extern struct platform_driver fi_receiver_driver;
bool fi_receiver_complete(struct fi_receiver *receiver);
void fi_receiver_list_links(struct seq_file *file);

/* faults.c */
enum fi_skip { FI_STARVED, FI_OTHER_STARVED, FI_FAULT, FI_SKIPS };
struct fi_faults {
	uint upload_ms, autosuspend_ms, frame_us, light_permille;
	uint slow_network, drop_image_every, drop_metadata_every, error_every;
	uint hang_after, i2c_errors;
	int hang_times;
	bool dead_network, need_firmware, stale_links;
};
extern struct fi_faults fi_faults;
int fi_faults_init(void);
void fi_faults_exit(void);
void fi_count_stream(void);
void fi_count_frame(const struct fi_settings *now);
void fi_count_hang(void);
void fi_count_stretched(void);
void fi_count_done(enum fi_role role, bool broken);
void fi_count_skip(enum fi_role role, u32 number, enum fi_skip why);
/* Lines of the network that were put in, or NULL: one of the frames of `bytes`. Hold between begin and end. */
const u8 *fi_dnn_begin(u32 number, size_t bytes);
void fi_dnn_end(void);

#endif

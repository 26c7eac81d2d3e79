// SPDX-License-Identifier: GPL-2.0
/*
 * What goes wrong, by wish (module parameters, writable at any time), and the
 * truth about it (debugfs, below fake_imx500):
 *
 *   stats    totals since anything was last written to it, and the latest frame's settings
 *   skipped  a line for each frame that a node did not get: stream, node, number, reason
 *   links    a line for each link that is enabled
 *   dnn      written: lines of the network, frame after frame, that are served in turn
 */
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include "fake_imx500.h"

#define SKIPPED_MAX	16384
#define DNN_BYTES_MAX	(64 << 20)

struct fi_faults fi_faults = {
	.upload_ms = 300,
	.autosuspend_ms = 5000,
	.light_permille = 1000,
	.hang_times = 1,
	.need_firmware = true,
};

#define FAULT(name, type, mode, text) \
	module_param_named(name, fi_faults.name, type, mode); \
	MODULE_PARM_DESC(name, text)

FAULT(upload_ms, uint, 0644, "time of each of the three uploads");
FAULT(autosuspend_ms, uint, 0444, "from the last stream to the power's end");
FAULT(frame_us, uint, 0644, "time of a frame whatever its length says; 0: as it says");
FAULT(light_permille, uint, 0644, "light on the scene");
FAULT(dead_network, bool, 0644, "the network's lines stay zero");
FAULT(slow_network, uint, 0644, "a result in one of so many frames");
FAULT(drop_image_every, uint, 0644, "every so many frames the image node gets none");
FAULT(drop_metadata_every, uint, 0644, "every so many frames the metadata node gets none");
FAULT(error_every, uint, 0644, "every so many pictures are marked as broken");
FAULT(hang_after, uint, 0644, "frames of a stream until it gives no more; 0: never");
FAULT(hang_times, int, 0644, "how many streams hang; -1: each");
FAULT(i2c_errors, uint, 0644, "how many of the next starts fail");
FAULT(need_firmware, bool, 0644, "a network needs both firmware files");
FAULT(stale_links, bool, 0444, "rp1-cfe: links as another program left them");

struct skip {
	u32 stream, number;
	u8 role, why;
};

static struct {
	spinlock_t lock;
	u32 streams, frames, hangs, stretched;
	struct fi_settings now;
	u32 done[FI_ROLES], broken[FI_ROLES], skipped[FI_ROLES][FI_SKIPS];
	struct skip *skips;
	u32 skips_count, skips_lost;
} counts;

static const char * const role_names[FI_ROLES] = { "image", "metadata" };
static const char * const skip_names[FI_SKIPS] = { "starved", "other_starved", "fault" };

static struct {
	struct mutex lock;
	u8 *data;
	size_t size;
} dnn;

static struct dentry *directory;

void fi_count_stream(void)
{
	spin_lock(&counts.lock);
	counts.streams++;
	spin_unlock(&counts.lock);
}

void fi_count_frame(const struct fi_settings *now)
{
	spin_lock(&counts.lock);
	counts.frames++;
	counts.now = *now;
	spin_unlock(&counts.lock);
}

void fi_count_hang(void)
{
	spin_lock(&counts.lock);
	counts.hangs++;
	spin_unlock(&counts.lock);
}

void fi_count_stretched(void)
{
	spin_lock(&counts.lock);
	counts.stretched++;
	spin_unlock(&counts.lock);
}

void fi_count_done(enum fi_role role, bool broken)
{
	spin_lock(&counts.lock);
	if (broken)
		counts.broken[role]++;
	else
		counts.done[role]++;
	spin_unlock(&counts.lock);
}

void fi_count_skip(enum fi_role role, u32 number, enum fi_skip why)
{
	spin_lock(&counts.lock);
	counts.skipped[role][why]++;
	if (counts.skips_count < SKIPPED_MAX)
		counts.skips[counts.skips_count++] = (struct skip){
			.stream = counts.streams, .number = number, .role = role, .why = why,
		};
	else
		counts.skips_lost++;
	spin_unlock(&counts.lock);
}

static int stats_show(struct seq_file *file, void *data)
{
	unsigned int role, why;

	spin_lock(&counts.lock);
	seq_printf(file, "streams %u\nframes %u\nhangs %u\nstretched %u\n", counts.streams, counts.frames, counts.hangs,
		   counts.stretched);
	seq_printf(file, "exposure_lines %u\ngain_code %u\nframe_length %u\n", counts.now.exposure, counts.now.gain,
		   counts.now.frame_length);
	for (role = 0; role < FI_ROLES; role++) {
		seq_printf(file, "%s_delivered %u\n", role_names[role], counts.done[role]);
		seq_printf(file, "%s_broken %u\n", role_names[role], counts.broken[role]);
		for (why = 0; why < FI_SKIPS; why++)
			seq_printf(file, "%s_%s %u\n", role_names[role], skip_names[why], counts.skipped[role][why]);
	}
	seq_printf(file, "skips_not_listed %u\n", counts.skips_lost);
	spin_unlock(&counts.lock);
	return 0;
}

static int stats_open(struct inode *inode, struct file *file)
{
	return single_open(file, stats_show, NULL);
}

static ssize_t stats_write(struct file *file, const char __user *from, size_t count, loff_t *at)
{
	spin_lock(&counts.lock);
	counts.streams = 0;
	counts.frames = 0;
	counts.hangs = 0;
	counts.stretched = 0;
	memset(counts.done, 0, sizeof(counts.done));
	memset(counts.broken, 0, sizeof(counts.broken));
	memset(counts.skipped, 0, sizeof(counts.skipped));
	counts.skips_count = 0;
	counts.skips_lost = 0;
	spin_unlock(&counts.lock);
	return count;
}

static const struct file_operations stats_fops = {
	.owner = THIS_MODULE,
	.open = stats_open,
	.read = seq_read,
	.write = stats_write,
	.llseek = seq_lseek,
	.release = single_release,
};

static int skipped_show(struct seq_file *file, void *data)
{
	u32 i;

	/* Entries are only ever added; those that are read were complete before the count was. */
	for (i = 0; i < smp_load_acquire(&counts.skips_count); i++) {
		const struct skip *skip = &counts.skips[i];

		seq_printf(file, "%u %s %u %s\n", skip->stream, role_names[skip->role], skip->number,
			   skip_names[skip->why]);
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(skipped);

static int links_show(struct seq_file *file, void *data)
{
	fi_receiver_list_links(file);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(links);

static int dnn_open(struct inode *inode, struct file *file)
{
	if (file->f_flags & O_TRUNC) {
		mutex_lock(&dnn.lock);
		vfree(dnn.data);
		dnn.data = NULL;
		dnn.size = 0;
		mutex_unlock(&dnn.lock);
	}
	return nonseekable_open(inode, file);
}

static ssize_t dnn_write(struct file *file, const char __user *from, size_t count, loff_t *at)
{
	ssize_t ret = count;
	u8 *larger;

	mutex_lock(&dnn.lock);
	if (count > DNN_BYTES_MAX - dnn.size) {
		ret = -EFBIG;
		goto unlock;
	}
	larger = vmalloc(dnn.size + count);
	if (!larger) {
		ret = -ENOMEM;
		goto unlock;
	}
	if (copy_from_user(larger + dnn.size, from, count)) {
		vfree(larger);
		ret = -EFAULT;
		goto unlock;
	}
	if (dnn.data)
		memcpy(larger, dnn.data, dnn.size);
	vfree(dnn.data);
	dnn.data = larger;
	dnn.size += count;
unlock:
	mutex_unlock(&dnn.lock);
	return ret;
}

static const struct file_operations dnn_fops = {
	.owner = THIS_MODULE,
	.open = dnn_open,
	.write = dnn_write,
};

const u8 *fi_dnn_begin(u32 number, size_t bytes)
{
	mutex_lock(&dnn.lock);
	if (!bytes || dnn.size < bytes || dnn.size % bytes)
		return NULL;
	return dnn.data + number % (dnn.size / bytes) * bytes;
}

void fi_dnn_end(void)
{
	mutex_unlock(&dnn.lock);
}

int fi_faults_init(void)
{
	spin_lock_init(&counts.lock);
	mutex_init(&dnn.lock);
	counts.skips = vzalloc(SKIPPED_MAX * sizeof(*counts.skips));
	if (!counts.skips)
		return -ENOMEM;
	directory = debugfs_create_dir("fake_imx500", NULL);
	debugfs_create_file("stats", 0644, directory, NULL, &stats_fops);
	debugfs_create_file("skipped", 0444, directory, NULL, &skipped_fops);
	debugfs_create_file("links", 0444, directory, NULL, &links_fops);
	debugfs_create_file("dnn", 0200, directory, NULL, &dnn_fops);
	return 0;
}

void fi_faults_exit(void)
{
	debugfs_remove_recursive(directory);
	vfree(counts.skips);
	vfree(dnn.data);
}

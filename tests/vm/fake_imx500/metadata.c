// SPDX-License-Identifier: GPL-2.0
/*
 * Metadata buffers in the sensor's layout: two register lines in the packing of
 * RAW10, then lines of 2560 bytes: KPI, input tensor, output tensors, PQ.
 *
 * The lines of the network come from a file that was put in (debugfs: dnn), or
 * are made here from the package's description, with outputs that are all zero.
 */
#include <linux/string.h>
#include "fake_imx500.h"

/* A tagged line in the making; every fifth byte is a dummy. */
struct line {
	u8 *out;
	u32 size, at;
};

static void put(struct line *line, u8 tag, u8 value)
{
	u8 pair[2] = { tag, value };
	int i;

	for (i = 0; i < 2; i++) {
		if (line->at % 5 == 4)
			line->out[line->at++] = 0x55;
		line->out[line->at++] = pair[i];
	}
}

static void put_address(struct line *line, u16 address)
{
	put(line, 0xaa, address >> 8);
	put(line, 0xa5, address & 0xff);
}

static void put_u16(struct line *line, u16 value)
{
	put(line, 0x5a, value >> 8);
	put(line, 0x5a, value & 0xff);
}

static struct line begin_line(u8 *out, u32 size)
{
	u32 i;

	for (i = 0; i < size; i++)
		out[i] = i % 5 == 4 ? 0x55 : 0x07;
	out[0] = 0x0a;
	return (struct line){ .out = out, .size = size, .at = 1 };
}

/* The order is ours, and on purpose another one than that of the dumps: no program may rely on it. */
static u32 register_lines(struct fi_sensor *sensor, const struct fi_frame *frame, u8 *out)
{
	u32 stride = sensor->mode->width * 10 / 8, shift = 0;
	u32 frame_length = frame->now.frame_length;
	struct line line;

	if (fi_layout->register_lines_aligned)
		stride = ALIGN(stride, 16);
	while (frame_length > FI_FRAME_LENGTH_MAX) {
		frame_length >>= 1;
		shift++;
	}
	line = begin_line(out, stride);
	put_address(&line, 0x0340);
	put_u16(&line, frame_length);
	put_u16(&line, sensor->mode->line_length);
	put_address(&line, 0x034c);
	put_u16(&line, sensor->mode->width);
	put_u16(&line, sensor->mode->height);

	line = begin_line(out + stride, stride);
	put_address(&line, 0x0202);
	put_u16(&line, frame->now.exposure >> shift);
	put_u16(&line, frame->now.gain);
	put(&line, 0x55, 0);
	put_address(&line, 0x013a);
	put(&line, 0x5a, 38 + frame->number / 256 % 8);
	put_address(&line, 0x0005);
	put(&line, 0x5a, frame->number & 0xff);
	return 2 * stride;
}

static void header(const struct fi_network *network, u8 *out, u8 type)
{
	u32 i;

	memset(out, 0, FI_LINE);
	put_unaligned_le16(FI_LINE, out + 2);
	put_unaligned_le16(network->apparams_size, out + 4);
	out[8] = type;
	out[10] = 0x80;	/* not zero, as in a real capture */
	out[11] = 0x08;
	for (i = 0; i < network->apparams_size; i += 4)
		put_unaligned_le32(get_unaligned_be32(network->data + 0x60 + i), out + 12 + i);
}

static void made_lines(const struct fi_network *network, const struct fi_frame *frame, u8 *out)
{
	u8 *input = out + FI_LINE, *output = input + FI_LINE * network->input_lines;
	u32 i;

	memset(out, 0, FI_LINE);
	put_unaligned_le32(23000, out + 36);
	put_unaligned_le32(9000, out + 40);
	header(network, input, 0);
	for (i = 1; i < network->input_lines; i++)
		memset(input + i * FI_LINE, (i + frame->number) & 0xff, FI_LINE);
	header(network, output, 1);
	memset(output + FI_LINE, 0, FI_LINE * network->output_lines);
}

/* A network that needs `slow` frames: the input of the first, the output with the last of them. */
static void stamp(const struct fi_network *network, const struct fi_frame *frame, u8 *dnn)
{
	u8 *input = dnn + FI_LINE, *output = input + FI_LINE * network->input_lines;
	u32 slow = max(fi_faults.slow_network, 1U), phase = frame->number % slow;

	input[0] = phase == 0;
	output[0] = phase == slow - 1;
	input[1] = frame->number % 255;
	output[1] = frame->number % 255;
}

void fi_metadata_fill(struct fi_sensor *sensor, const struct fi_frame *frame, u8 *out, size_t size)
{
	const struct fi_network *network = &sensor->network;
	size_t lines = (size_t)sensor->dnn_lines * FI_LINE;
	u32 at = register_lines(sensor, frame, out);
	const u8 *put_in;

	if (at + lines > size)
		return;	/* refused when the stream began */
	if (!sensor->network_loaded || fi_faults.dead_network || !network->input_lines || !network->output_lines) {
		memset(out + at, 0, lines);
	} else {
		put_in = fi_dnn_begin(frame->number, lines);
		if (put_in)
			memcpy(out + at, put_in, lines);
		else if (network->apparams_size)
			made_lines(network, frame, out + at);
		else
			memset(out + at, 0, lines);
		fi_dnn_end();
		stamp(network, frame, out + at);
	}
	memset(out + at + lines, 0xa5, size - at - lines);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * RAW10 of a scene: eight coloured bars that move sideways, and a darker band
 * that moves down. Brightness is exposure x gain x light, above a black level.
 *
 * Four rows are computed (two Bayer rows, in the light and in the band); all
 * others are copies, because the machine that runs this is emulated.
 */
#include <linux/kernel.h>
#include <linux/math64.h>
#include "fake_imx500.h"

#define BLACK		64
#define WHITE		1023
#define WIDTH_MAX	4056
/* 10 ms at gain 1 take a white bar's green pixels to 900 above black. */
#define CLOCKS_REFERENCE 7440000ULL

const struct fi_format fi_formats[4] = {
	{ 0x300f, V4L2_PIX_FMT_SRGGB10P, V4L2_PIX_FMT_SRGGB10, V4L2_PIX_FMT_SRGGB16 },
	{ 0x300a, V4L2_PIX_FMT_SGRBG10P, V4L2_PIX_FMT_SGRBG10, V4L2_PIX_FMT_SGRBG16 },
	{ 0x300e, V4L2_PIX_FMT_SGBRG10P, V4L2_PIX_FMT_SGBRG10, V4L2_PIX_FMT_SGBRG16 },
	{ 0x3007, V4L2_PIX_FMT_SBGGR10P, V4L2_PIX_FMT_SBGGR10, V4L2_PIX_FMT_SBGGR16 },
};

/* Reflectance of the bars in R, G, B, of 255. */
static const u8 bars[8][3] = {
	{ 255, 255, 255 }, { 240, 230, 30 }, { 30, 220, 230 }, { 40, 200, 50 },
	{ 200, 60, 180 }, { 220, 40, 30 }, { 40, 50, 210 }, { 20, 20, 20 },
};
/* What the sensor makes of white: red and blue are weaker, as in daylight. */
static const u8 response[3] = { 120, 255, 160 };

/* Native colour of a cell: R G / G B. */
static int channel(u32 x, u32 y)
{
	return (x & 1) + (y & 1);
}

struct scene {
	const struct fi_mode *mode;
	u64 level;	/* 16.16: of a fully white green pixel, above black */
	bool hflip, vflip;
	u32 shift;	/* of the bars, in pixels */
};

static u16 pixel(const struct scene *scene, u32 x, u32 y, bool band)
{
	u32 width = scene->mode->width, c;
	u64 value;
	const u8 *bar;

	if (scene->hflip)
		x = width - 1 - x;
	c = channel(x, y);
	bar = bars[(x + scene->shift) % width * 8 / width];
	value = scene->level * bar[c] * response[c] / (255 * 255) >> 16;
	return min_t(u64, BLACK + (band ? value / 2 : value), WHITE);
}

static void pack_row(const struct scene *scene, u32 y, bool band, u32 format, u8 *out)
{
	u32 width = scene->mode->width, x, i;
	bool packed = false, upper = false;

	for (i = 0; i < ARRAY_SIZE(fi_formats); i++) {
		packed |= format == fi_formats[i].packed;
		upper |= format == fi_formats[i].upper;
	}
	for (x = 0; packed && x < width; x += 4, out += 5) {
		out[4] = 0;
		for (i = 0; i < 4; i++) {
			u16 value = pixel(scene, x + i, y, band);

			out[i] = value >> 2;
			out[4] |= (value & 3) << 2 * i;
		}
	}
	for (x = 0; !packed && x < width; x++, out += 2) {
		u16 value = pixel(scene, x, y, band) << (upper ? 6 : 0);

		out[0] = value & 0xff;
		out[1] = value >> 8;
	}
}

/* Not memcpy: its string instruction is emulated byte by byte. */
static void copy_row(u64 *out, const u64 *in, u32 words)
{
	u32 i;

	for (i = 0; i + 4 <= words; i += 4) {
		u64 a = READ_ONCE(in[i]), b = READ_ONCE(in[i + 1]), c = READ_ONCE(in[i + 2]), d = READ_ONCE(in[i + 3]);

		WRITE_ONCE(out[i], a);
		WRITE_ONCE(out[i + 1], b);
		WRITE_ONCE(out[i + 2], c);
		WRITE_ONCE(out[i + 3], d);
	}
	for (; i < words; i++)
		WRITE_ONCE(out[i], READ_ONCE(in[i]));
}

void fi_picture_fill(struct fi_sensor *sensor, const struct fi_frame *frame, const struct v4l2_pix_format *pix, u8 *out)
{
	u32 height = sensor->mode->height, stride = pix->bytesperline, y, band_at = frame->number * 16 % height;
	u64 clocks = (u64)frame->now.exposure * sensor->mode->line_length * 1024 / (1024 - min(frame->now.gain, 1023U));
	/* Far above white, and far below what 64 bits hold. */
	u64 clocks_max = 1ULL << 36;
	u8 *done[4] = { };
	struct scene scene = {
		.mode = sensor->mode,
		.level = div64_u64(min(clocks, clocks_max) * 900 * min(fi_faults.light_permille, 100000U),
				   CLOCKS_REFERENCE * 1000 >> 16),
		.hflip = sensor->hflip->cur.val,
		.vflip = sensor->vflip->cur.val,
		.shift = frame->number * 8,
	};

	if (pix->width != sensor->mode->width || pix->height != height)
		return;	/* refused when the stream began */
	for (y = 0; y < height; y++) {
		u32 native = scene.vflip ? height - 1 - y : y;
		bool band = (native + height - band_at) % height < height / 4;
		u8 **row = &done[(band ? 2 : 0) + (native & 1)];

		if (*row) {
			copy_row((u64 *)(out + (size_t)y * stride), (u64 *)*row, stride / 8);
		} else {
			*row = out + (size_t)y * stride;
			memset(*row, 0, stride);
			pack_row(&scene, native, band, pix->pixelformat, *row);
		}
	}
}

// SPDX-License-Identifier: GPL-2.0
/*
 * What the driver reads in a network package: it walks the blocks of weights,
 * then looks in the archive behind them for the file of registers.
 */
#include <linux/string.h>
#include "fake_imx500.h"

#define BLOCK_HEADER	32
#define BLOCK_FOOTER	64
#define CPIO_HEADER	110
#define REGISTER_BYTES	7	/* u16 address, u8 width, u32 value */

#define INPUT_LINES	0x305e
#define OUTPUT_LINES	0x3060
#define LINES_LIMIT	2046

#define APPARAMS_AT	0x60

/* Bytes of the blocks at the file's start; 0 when the first one is none. */
static size_t blocks_bytes(const u8 *data, size_t size)
{
	size_t at = 0;

	while (size - at >= BLOCK_HEADER + BLOCK_FOOTER && !memcmp(data + at, "9464", 4)) {
		size_t block = get_unaligned_be32(data + at + 4);

		if (block > size - at - BLOCK_FOOTER)
			break;
		block += BLOCK_FOOTER;
		if (memcmp(data + at + block - 4, "3695", 4))
			break;
		at += block;
	}
	return at;
}

static bool hex(const u8 *text, size_t *value)
{
	char digits[9] = { };
	u32 number;

	memcpy(digits, text, 8);
	if (kstrtou32(digits, 16, &number))
		return false;
	*value = number;
	return true;
}

/* A file of the archive; NULL when there is none of that name. */
static const u8 *cpio_find(const u8 *data, size_t size, const char *name, size_t *found)
{
	size_t at = 0;

	while (size - at >= CPIO_HEADER && !memcmp(data + at, "070701", 6)) {
		size_t length, name_length, start;
		const u8 *own = data + at + CPIO_HEADER;

		if (!hex(data + at + 54, &length) || !hex(data + at + 94, &name_length))
			return NULL;
		start = ALIGN(at + CPIO_HEADER + name_length, 4);
		if (name_length > size || start > size || length > size - start)
			return NULL;
		if (name_length == strlen(name) + 1 && !memcmp(own, name, name_length)) {
			*found = length;
			return data + start;
		}
		at = ALIGN(start + length, 4);
		if (at > size)
			return NULL;
	}
	return NULL;
}

static const u8 *registers(const struct fi_network *network, size_t *count)
{
	size_t blocks = blocks_bytes(network->data, network->size), length;
	const u8 *found = cpio_find(network->data + blocks, network->size - blocks, "imx500_regs", &length);

	if (!found || length % REGISTER_BYTES)
		return NULL;
	*count = length / REGISTER_BYTES;
	return found;
}

/* Lines and apParams of the package; what is not there stays 0. */
void fi_package_read(struct fi_network *network)
{
	size_t count, i;
	const u8 *entry = registers(network, &count);

	network->input_lines = 0;
	network->output_lines = 0;
	network->apparams_size = 0;
	for (i = 0; entry && i < count; i++, entry += REGISTER_BYTES) {
		u32 value = get_unaligned_le32(entry + 3);

		if (value >= LINES_LIMIT || entry[2] != 2)
			continue;
		if (get_unaligned_le16(entry) == INPUT_LINES)
			network->input_lines = value;
		if (get_unaligned_le16(entry) == OUTPUT_LINES)
			network->output_lines = value;
	}
	if (network->size > APPARAMS_AT && get_unaligned_be32(network->data + 0x40) == 4 &&
	    get_unaligned_be32(network->data + 0x44) == 0x8000f000) {
		u32 size = round_up(get_unaligned_be32(network->data + 0x48), 16);

		if (size <= FI_LINE - 12 && size <= network->size - APPARAMS_AT)
			network->apparams_size = size;
	}
}

/* The real list knows each register's bits; this one its areas. */
static bool register_allowed(u16 address, u8 width, u32 value)
{
	if (address == INPUT_LINES || address == OUTPUT_LINES)
		return width == 2 && value < LINES_LIMIT;
	return address >= 0xd600 && address <= 0xd7fa && (width == 1 || width == 2 || width == 4);
}

/* What an upload would refuse. */
int fi_package_check(const struct fi_network *network)
{
	size_t count, i;
	const u8 *entry = registers(network, &count);

	if (!entry || !blocks_bytes(network->data, network->size))
		return -EINVAL;
	for (i = 0; i < count; i++, entry += REGISTER_BYTES)
		if (!register_allowed(get_unaligned_le16(entry), entry[2], get_unaligned_le32(entry + 3)))
			return -EINVAL;
	return 0;
}

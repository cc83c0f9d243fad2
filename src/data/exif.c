/* The orientation in an EXIF block (EXIF 2.3, section 4.6.2: a TIFF header, then IFD0; tag 0x0112,
 * one SHORT). */
#include <string.h>

#include "data/decode.h"

enum { TAG_ORIENTATION = 0x0112, TYPE_SHORT = 3, ENTRY_BYTES = 12 };

static uint32_t read_number(const uint8_t *at, int bytes, bool big_endian)
{
    uint32_t value = 0;
    for (int i = 0; i < bytes; ++i)
        value |= (uint32_t)at[i] << 8 * (big_endian ? bytes - 1 - i : i);
    return value;
}

int ddpm_exif_orientation(const uint8_t *bytes, size_t size)
{
    if (size >= 6 && memcmp(bytes, "Exif\0\0", 6) == 0) {
        bytes += 6;
        size -= 6;
    }
    if (size < 8 || (memcmp(bytes, "II*\0", 4) != 0 && memcmp(bytes, "MM\0*", 4) != 0))
        return 1;
    bool big_endian = bytes[0] == 'M';
    size_t directory = read_number(bytes + 4, 4, big_endian);
    if (directory > size - 2)
        return 1;
    size_t entries = read_number(bytes + directory, 2, big_endian);
    for (size_t i = 0; i < entries; ++i) {
        size_t at = directory + 2 + i * ENTRY_BYTES;
        if (at + ENTRY_BYTES > size)
            return 1;
        const uint8_t *entry = bytes + at;
        if (read_number(entry, 2, big_endian) == TAG_ORIENTATION &&
            read_number(entry + 2, 2, big_endian) == TYPE_SHORT) {
            uint32_t value = read_number(entry + 8, 2, big_endian);
            return value >= 1 && value <= 8 ? (int)value : 1;
        }
    }
    return 1;
}

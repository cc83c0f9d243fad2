/* Which way up a picture is: the orientation in an EXIF block (EXIF 2.3, section 4.6.2: a TIFF
 * header, then IFD0; tag 0x0112) or in an XMP packet. The TIFF decoder uses the same directory
 * reader to check some tags before libtiff sees the file. */
#include <string.h>

#include "data/decode.h"

enum { TAG_SUBFILE = 254, TAG_ORIENTATION = 0x0112 };
enum { SUBFILE_SMALLER = 1, SUBFILE_MASK = 4 };

static uint64_t read_number(const uint8_t *at, int bytes, bool big_endian)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; ++i)
        value |= (uint64_t)at[i] << 8 * (big_endian ? bytes - 1 - i : i);
    return value;
}

/* A directory. Classic files: u16 entries, each tag u16, type u16, count u32, value or
 * offset of 4 bytes. Big ones: u64 entries, count u64, 8 bytes. */
struct directory {
    const uint8_t *bytes;
    size_t size, first; /* where the first entry starts */
    uint64_t entries;   /* as many as are inside the file */
    bool big_endian, big;
};

/* Enter the directory at `at`; the rest of *directory is known. */
static bool enter(struct directory *directory, uint64_t at)
{
    const size_t head = directory->big ? 8 : 2, entry = directory->big ? 20 : 12;
    const size_t size = directory->size;
    if (size < head || at > size - head)
        return false;
    const uint64_t stated = read_number(directory->bytes + at, (int)head, directory->big_endian);
    const uint64_t room = (size - at - head) / entry;
    directory->first = (size_t)at + head;
    directory->entries = stated < room ? stated : room;
    return true;
}

/* The first directory of a file. */
static bool open_directory(struct directory *directory, const uint8_t *bytes, size_t size)
{
    if (size < 8 || (memcmp(bytes, "II", 2) != 0 && memcmp(bytes, "MM", 2) != 0))
        return false;
    const bool big_endian = bytes[0] == 'M';
    const uint64_t version = read_number(bytes + 2, 2, big_endian);
    const bool big = version == 43;
    if ((!big && version != 42) || (big && size < 16))
        return false;
    const uint64_t at =
        big ? read_number(bytes + 8, 8, big_endian) : read_number(bytes + 4, 4, big_endian);
    *directory =
        (struct directory){.bytes = bytes, .size = size, .big_endian = big_endian, .big = big};
    return enter(directory, at);
}

static int type_bytes(int type)
{
    static const uint8_t bytes[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8};
    return type < (int)sizeof bytes ? bytes[type] : 0;
}

static bool is_integer(int type)
{
    return type == 3 || type == 4 || type == 6 || type == 8 || type == 9 || type == 16;
}

/* Values of more than 4 bytes in total (8 in a big file) are stored elsewhere, at an offset in the
 * entry. */
static int read_entry(const struct directory *directory, uint64_t index,
                      struct ddpm_tiff_entry *entry)
{
    const bool big = directory->big, big_endian = directory->big_endian;
    const uint8_t *at = directory->bytes + directory->first + index * (big ? 20 : 12);
    *entry = (struct ddpm_tiff_entry){
        .type = (int)read_number(at + 2, 2, big_endian),
        .count = read_number(at + 4, big ? 8 : 4, big_endian),
    };
    const uint64_t bytes = (uint64_t)type_bytes(entry->type), room = big ? 8 : 4;
    if (is_integer(entry->type) && entry->count >= 1) {
        const uint8_t *value = at + 4 + room;
        if (entry->count > room / bytes) {
            const uint64_t place = read_number(value, (int)room, big_endian);
            value = place <= directory->size - bytes ? directory->bytes + place : NULL;
        }
        entry->value = value ? read_number(value, (int)bytes, big_endian) : 0;
    }
    return (int)read_number(at, 2, big_endian);
}

bool ddpm_tiff_find(const uint8_t *bytes, size_t size, int tag, struct ddpm_tiff_entry *entry)
{
    struct directory directory;
    struct ddpm_tiff_entry found;
    *entry = (struct ddpm_tiff_entry){0};
    if (!open_directory(&directory, bytes, size))
        return false;
    for (uint64_t i = 0; i < directory.entries; ++i)
        if (read_entry(&directory, i, &found) == tag) {
            *entry = found;
            return true;
        }
    return false;
}

uint64_t ddpm_tiff_claimed_bytes(const uint8_t *bytes, size_t size)
{
    struct directory directory;
    struct ddpm_tiff_entry entry;
    uint64_t sum = 0;
    if (!open_directory(&directory, bytes, size))
        return 0;
    for (uint64_t i = 0; i < directory.entries; ++i) {
        uint64_t claimed;
        (void)read_entry(&directory, i, &entry);
        if (__builtin_mul_overflow(entry.count, (uint64_t)type_bytes(entry.type), &claimed) ||
            __builtin_add_overflow(sum, claimed, &sum))
            return UINT64_MAX;
    }
    return sum;
}

/* Where the next directory starts, or 0. */
static uint64_t next_directory(const struct directory *directory)
{
    const size_t bytes = directory->big ? 8 : 4, entry = directory->big ? 20 : 12;
    const uint64_t at = directory->first + directory->entries * entry;
    if (directory->size < bytes || at > directory->size - bytes)
        return 0;
    return read_number(directory->bytes + at, (int)bytes, directory->big_endian);
}

static bool is_page(const struct directory *directory)
{
    struct ddpm_tiff_entry entry;
    for (uint64_t i = 0; i < directory->entries; ++i)
        if (read_entry(directory, i, &entry) == TAG_SUBFILE)
            return (entry.value & (SUBFILE_SMALLER | SUBFILE_MASK)) == 0;
    return true;
}

int64_t ddpm_tiff_pages(const uint8_t *bytes, size_t size)
{
    struct directory directory;
    int64_t pages = 0;
    uint64_t taken = 0, next;
    if (!open_directory(&directory, bytes, size))
        return 1;
    do {
        taken += 6 + 12 * directory.entries; /* at least; no two directories share bytes */
        if (taken > size)
            return 1;
        pages += is_page(&directory);
        next = next_directory(&directory);
    } while (next != 0 && enter(&directory, next));
    return pages > 1 ? pages : 1;
}

int ddpm_exif_orientation(const uint8_t *bytes, size_t size)
{
    struct ddpm_tiff_entry entry;
    while (size >= 6 && memcmp(bytes, "Exif\0\0", 6) == 0) {
        bytes += 6;
        size -= 6;
    }
    if (!ddpm_tiff_find(bytes, size, TAG_ORIENTATION, &entry))
        return 0;
    return entry.value >= 1 && entry.value <= 8 ? (int)entry.value : 1;
}

int ddpm_xmp_orientation(const uint8_t *bytes, size_t size)
{
    static const char name[] = "tiff:Orientation";
    const size_t length = sizeof name - 1;
    for (const uint8_t *at = bytes, *end = bytes + size; (size_t)(end - at) > length + 1; ++at) {
        at = memchr(at, 't', (size_t)(end - at) - length - 1);
        if (!at)
            return 0;
        if (memcmp(at, name, length) != 0)
            continue;
        const uint8_t *value = at + length;
        size_t sign = value[0] == '>' ? 1 : value[0] == '=' && value[1] == '"' ? 2 : 0;
        if (sign && value + sign < end && value[sign] >= '0' && value[sign] <= '9')
            return value[sign] >= '1' && value[sign] <= '8' ? value[sign] - '0' : 1;
    }
    return 0;
}

/* Consecutive ranks on the same machine with the same kind of device are one place: {"host": "a",
 * "device": "CPU, avx2, 2 threads", "ranks": 4}. */
#include "run_places.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "formats/json.h"
#include "processes.h"
#include "progress.h"
#include "streams.h"

enum { DEVICE_BYTES = 128, MOST_SAID = 8, LINE_BYTES = 512 };

/* The name of a place's ranks: "rank 3", "ranks 0 to 3". */
static void name_ranks(char *text, size_t bytes, int first, int count)
{
    if (count == 1)
        snprintf(text, bytes, "rank %d", first);
    else
        snprintf(text, bytes, "ranks %d to %d", first, first + count - 1);
}

static ddpm_status add_place(json_t *on, int rank, int count, const char *device)
{
    const char *host = ddpm_ranks_host(ddpm_processes_ranks(), rank);
    json_t *place = json_object();
    ddpm_status status = ddpm_json_put_text(place, "host", ddpm_json_is_text(host) ? host : "?");
    if (status == DDPM_OK)
        status = ddpm_json_put_text(place, "device", device);
    if (status == DDPM_OK)
        status = ddpm_json_put(place, "ranks", json_integer(count));
    if (status == DDPM_OK && json_array_append_new(on, json_incref(place)) != 0)
        status = ddpm_raise_memory(LINE_BYTES, "a place of a run");
    json_decref(place);
    return status;
}

static bool are_together(const char (*devices)[DEVICE_BYTES], int a, int b)
{
    const struct ddpm_ranks *ranks = ddpm_processes_ranks();
    return strcmp(ddpm_ranks_host(ranks, a), ddpm_ranks_host(ranks, b)) == 0 &&
           strcmp(devices[a], devices[b]) == 0;
}

static ddpm_status add_places(json_t *on, const char (*devices)[DEVICE_BYTES])
{
    const int all = ddpm_ranks_count(ddpm_processes_ranks());
    for (int first = 0, end; first < all; first = end) {
        for (end = first + 1; end < all && are_together(devices, first, end);)
            ++end;
        DDPM_TRY(add_place(on, first, end - first, devices[first]));
    }
    return DDPM_OK;
}

static ddpm_status describe(const char (*devices)[DEVICE_BYTES], json_t *root)
{
    char text[LINE_BYTES];
    json_t *on = json_array();
    ddpm_status status = ddpm_json_put_text(root, "ranks", ddpm_processes_text(text, sizeof text));
    if (status == DDPM_OK)
        status = ddpm_json_put(root, "on", json_incref(on));
    if (status == DDPM_OK)
        status = add_places(on, devices);
    json_decref(on);
    return status;
}

static ddpm_status gather(const char *device, char (**out)[DEVICE_BYTES])
{
    struct ddpm_ranks *ranks = ddpm_processes_ranks();
    const size_t count = (size_t)ddpm_ranks_count(ranks);
    ddpm_status status = ddpm_new_array((void **)out, count, sizeof **out, "devices of all ranks");
    DDPM_TRY(ddpm_ranks_agree(ranks, status, NULL));
    snprintf((*out)[ddpm_ranks_index(ranks)], sizeof **out, "%s", device);
    return ddpm_ranks_gather(ranks, *out, sizeof **out);
}

ddpm_status ddpm_run_places_find(const char *device, json_t **out)
{
    char(*devices)[DEVICE_BYTES] = NULL;
    *out = NULL;
    ddpm_status status = gather(device, &devices);
    if (status == DDPM_OK && ddpm_processes_lead()) {
        *out = json_object();
        status = describe((const char(*)[DEVICE_BYTES])devices, *out);
    }
    free(devices);
    return status;
}

/* "ranks 0 to 3 on a: CPU, avx2, 2 threads"; false if the place is incomplete. */
static bool place_text(const json_t *place, int *first, char *text, size_t bytes)
{
    char name[64];
    const char *host = json_string_value(json_object_get(place, "host"));
    const char *device = json_string_value(json_object_get(place, "device"));
    const json_int_t count = json_integer_value(json_object_get(place, "ranks"));
    if (!host || !device || count < 1 || count > 1 << 20)
        return false;
    name_ranks(name, sizeof name, *first, (int)count);
    snprintf(text, bytes, "%s on %s: %s", name, host, device);
    *first += (int)count;
    return true;
}

void ddpm_run_places_say(const json_t *places)
{
    const json_t *on = json_object_get(places, "on");
    const size_t count = json_array_size(on);
    char text[LINE_BYTES];
    int first = 0;
    for (size_t i = 0; i < count && i < MOST_SAID && ddpm_processes_ranks(); ++i)
        if (place_text(json_array_get(on, i), &first, text, sizeof text))
            ddpm_progress_remark("          %s", text);
    if (count > MOST_SAID)
        ddpm_progress_remark("          and %zu more, which ddpm info lists", count - MOST_SAID);
}

ddpm_status ddpm_run_places_print(const char *path)
{
    char text[LINE_BYTES];
    int first = 0;
    json_t *root;
    DDPM_TRY(ddpm_json_read(&root, path));
    const json_t *places = json_object_get(root, "last_start");
    const char *ranks = json_string_value(json_object_get(places, "ranks"));
    const json_t *on = json_object_get(places, "on");
    if (ranks)
        ddpm_print_text("last start  ", ranks, "\n");
    for (size_t i = 0; ranks && i < json_array_size(on); ++i)
        if (place_text(json_array_get(on, i), &first, text, sizeof text))
            ddpm_print_text("            ", text, "\n");
    json_decref(root);
    return DDPM_OK;
}

/* Tensor names in files from other programs. */
#include "model/wrapped_names.h"

#include <stdio.h>
#include <string.h>

/* A file with many more tensors than the network is not its file, whatever their names. */
enum { MOST_COPIES = 8 };

/* Words that wrappers around parts of a network put inside names. No module of our networks has
 * such a name. */
static const char *const inner_words[] = {"_orig_mod.", "_fsdp_wrapped_module.",
                                          "_checkpoint_wrapped_module.", "_forward_module."};

static size_t inner_word_at(const char *name)
{
    for (size_t i = 0; i < sizeof inner_words / sizeof *inner_words; ++i) {
        const size_t length = strlen(inner_words[i]);
        if (strncmp(name, inner_words[i], length) == 0)
            return length;
    }
    return 0;
}

/* Is `name` the parameter's name, apart from such words? */
static bool same_inside(const char *name, const char *parameter, bool *any)
{
    for (bool begins = true;; begins = *name++ == '.', ++parameter) {
        for (size_t skip; begins && (skip = inner_word_at(name)) > 0; name += skip)
            *any = true;
        if (*name != *parameter)
            return false;
        if (!*name)
            return true;
    }
}

/* Where the parameter's name starts in a tensor's name, or NULL. Take the last place, so that the
 * prefix is as long as possible. */
static const char *ending(const char *name, const char *parameter, bool *inside)
{
    const char *found = NULL;
    for (const char *at = name; at; at = strchr(at, '.')) {
        bool any = false;
        at += at != name; /* after the dot */
        if (same_inside(at, parameter, &any)) {
            found = at;
            *inside = any;
        }
    }
    return found;
}

static bool has_prefix(const struct ddpm_naming *naming, const char *name)
{
    return strncmp(name, naming->prefix, strlen(naming->prefix)) == 0;
}

const struct ddpm_safetensors_tensor *ddpm_naming_tensor(const struct ddpm_naming *naming,
                                                         const struct ddpm_safetensors *file,
                                                         const char *parameter)
{
    char name[2 * DDPM_TENSOR_NAME_BYTES];
    bool any;
    snprintf(name, sizeof name, "%s%s", naming->prefix, parameter);
    const struct ddpm_safetensors_tensor *tensor = ddpm_safetensors_find(file, name);
    for (size_t i = 0; !tensor && naming->inside && i < ddpm_safetensors_count(file); ++i) {
        const struct ddpm_safetensors_tensor *other = ddpm_safetensors_at(file, i);
        if (has_prefix(naming, other->name) &&
            same_inside(other->name + strlen(naming->prefix), parameter, &any))
            tensor = other;
    }
    return tensor;
}

bool ddpm_naming_knows(const struct ddpm_naming *naming, const struct ddpm_parameters *parameters,
                       const char *name)
{
    bool any;
    if (!has_prefix(naming, name))
        return false;
    name += strlen(naming->prefix);
    if (ddpm_parameters_find(parameters, name) < parameters->count)
        return true;
    for (size_t i = 0; naming->inside && i < parameters->count; ++i)
        if (same_inside(name, parameters->items[i].name, &any))
            return true;
    return false;
}

/* From torch.optim.swa_utils.AveragedModel and ema_pytorch. */
bool ddpm_naming_is_counter(const struct ddpm_safetensors_tensor *tensor)
{
    static const char *const counters[] = {"n_averaged", "initted", "step"};
    for (size_t i = 0; i < sizeof counters / sizeof *counters; ++i)
        if (strcmp(tensor->name, counters[i]) == 0)
            return tensor->count == 1;
    return false;
}

static const char *shown(const char *prefix)
{
    return *prefix ? prefix : "no prefix";
}

/* Store the prefix of a parameter's tensor, or compare it with the one found before. */
static ddpm_status compare_prefix(const struct ddpm_parameters *parameters, const char *parameter,
                                  const char *name, const char *path, bool *any,
                                  struct ddpm_naming *found)
{
    char prefix[DDPM_TENSOR_NAME_BYTES];
    bool inside = false;
    const char *begins = ending(name, parameter, &inside);
    if (!begins || begins - name >= DDPM_TENSOR_NAME_BYTES)
        return DDPM_OK;
    snprintf(prefix, sizeof prefix, "%.*s", (int)(begins - name), name);
    found->inside = found->inside || inside;
    if (*any && ddpm_naming_knows(found, parameters, name))
        return DDPM_OK; /* one parameter's name may be a suffix of another's */
    if (*any && strcmp(prefix, found->prefix) != 0)
        return ddpm_raise(DDPM_ERROR_MISMATCH,
                          "%s: the network's tensors have different prefixes, such as %s and %s "
                          "(%s): want a file that holds the network once, with one prefix or none",
                          path, shown(found->prefix), shown(prefix), name);
    *any = true;
    memcpy(found->prefix, prefix, sizeof prefix);
    return DDPM_OK;
}

static void say(const struct ddpm_naming *naming, const char *path)
{
    if (*naming->prefix)
        ddpm_log(DDPM_LOG_INFO,
                 "%s: tensor names begin with \"%s\", a wrapper of PyTorch; ignoring it", path,
                 naming->prefix);
    if (naming->inside)
        ddpm_log(DDPM_LOG_INFO, "%s: ignoring the names of PyTorch's wrappers inside tensor names",
                 path);
}

ddpm_status ddpm_naming_find(const struct ddpm_parameters *parameters,
                             const struct ddpm_safetensors *file, const char *path,
                             struct ddpm_naming *out)
{
    const size_t count = ddpm_safetensors_count(file);
    bool any = false, plain = count == parameters->count;
    memset(out, 0, sizeof *out);
    for (size_t i = 0; plain && i < parameters->count; ++i)
        plain = ddpm_safetensors_find(file, parameters->items[i].name) != NULL;
    if (plain || count > MOST_COPIES * (parameters->count + 16))
        return DDPM_OK;
    for (size_t i = 0; i < parameters->count; ++i)
        for (size_t k = 0; k < count; ++k)
            DDPM_TRY(compare_prefix(parameters, parameters->items[i].name,
                                    ddpm_safetensors_at(file, k)->name, path, &any, out));
    say(out, path);
    return DDPM_OK;
}

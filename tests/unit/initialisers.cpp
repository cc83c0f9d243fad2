// The initialisers of options in C++.
#include <ddpm/sampler.h>

int ddpm_use_initialisers();
int ddpm_use_initialisers()
{
    ddpm_sampler_options sampler = DDPM_SAMPLER_OPTIONS_INIT;
    const ddpm_sample_options sample = DDPM_SAMPLE_OPTIONS_INIT;
    return sampler.clip + sample.clip;
}

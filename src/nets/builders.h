/* The builders named in config/networks.inc, declared for their own files and the table. */
#ifndef DDPM_NETS_BUILDERS_H
#define DDPM_NETS_BUILDERS_H

#include "nets/nets.h"

#define NETWORK(id, name, help, build) ddpm_net_builder ddpm_build_##build;
#include "config/networks.inc"
#undef NETWORK

#endif

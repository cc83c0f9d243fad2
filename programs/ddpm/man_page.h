/* Manual pages in roff, made from the tables of verbs and options. */
#ifndef DDPM_PROGRAM_MAN_PAGE_H
#define DDPM_PROGRAM_MAN_PAGE_H

#include "program.h"

/* Print ddpm(1), if `verb` is NULL, or ddpm-VERB(1) on stdout. */
void ddpm_man_page(const struct ddpm_verb *verb);

#endif

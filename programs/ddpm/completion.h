/* Completion scripts for shells, on stdout: verbs, options and their possible values. */
#ifndef DDPM_PROGRAM_COMPLETION_H
#define DDPM_PROGRAM_COMPLETION_H

void ddpm_completion_bash(void);
void ddpm_completion_fish(void);
void ddpm_completion_zsh(void);

#endif

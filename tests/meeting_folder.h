/* A folder for the files where ranks meet, as setup and teardown of a test. */
#ifndef DDPM_TESTS_MEETING_FOLDER_H
#define DDPM_TESTS_MEETING_FOLDER_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char meeting_folder[64], meeting_file[80];

static int make_meeting_folder(void **state)
{
    (void)state;
    snprintf(meeting_folder, sizeof meeting_folder, "/tmp/ddpm-meeting-XXXXXX");
    if (!mkdtemp(meeting_folder))
        return -1;
    snprintf(meeting_file, sizeof meeting_file, "%s/meet", meeting_folder);
    return setenv("DDPM_RANKS_FILE", meeting_file, 1);
}

/* Fails if the ranks have left anything in it. */
static int remove_meeting_folder(void **state)
{
    (void)state;
    return rmdir(meeting_folder);
}

#endif

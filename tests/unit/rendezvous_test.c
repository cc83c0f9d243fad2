/* Meeting at files: both sides in one process, and files of earlier jobs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "meeting_folder.h"
#include "ranks/rendezvous.h"

static const unsigned char address[DDPM_NCCL_ID_BYTES] = "an address";

static struct ddpm_rendezvous *begin(int rank, int count)
{
    const struct ddpm_tasks tasks = {"WORLD_SIZE", rank, count, rank};
    struct ddpm_rendezvous *out;
    assert_int_equal(ddpm_rendezvous_open(&tasks, &out), DDPM_OK);
    return out;
}

/* What is known about the others is at most a quarter of a second old. */
static void let_it_be_old(void)
{
    usleep(300000);
}

static void assert_found(struct ddpm_rendezvous *rendezvous, bool want)
{
    unsigned char id[DDPM_NCCL_ID_BYTES];
    bool found;
    assert_int_equal(ddpm_rendezvous_find(rendezvous, id, &found), DDPM_OK);
    assert_int_equal(found, want);
    if (want)
        assert_memory_equal(id, address, sizeof id);
}

static void publish(struct ddpm_rendezvous *first)
{
    let_it_be_old();
    assert_int_equal(ddpm_rendezvous_look(first), DDPM_OK);
    assert_int_equal(ddpm_rendezvous_publish(first, address), DDPM_OK);
}

static void an_address_is_for_those_that_have_come(void **state)
{
    (void)state;
    struct ddpm_rendezvous *first = begin(0, 3), *second = begin(1, 3);
    assert_found(second, false);
    publish(first);
    assert_found(second, true);
    struct ddpm_rendezvous *third = begin(2, 3);
    assert_found(third, false);
    assert_int_equal(ddpm_rendezvous_give_up(first, 5), DDPM_ERROR_IO);
    assert_non_null(strstr(ddpm_error_message(), "all 3 ranks have arrived"));
    publish(first);
    assert_found(third, true);
    ddpm_rendezvous_joined(first);
    assert_int_equal(access(meeting_file, F_OK), -1);
    ddpm_rendezvous_close(&third);
    ddpm_rendezvous_close(&second);
    ddpm_rendezvous_close(&first);
}

static void who_is_missing_is_named(void **state)
{
    (void)state;
    struct ddpm_rendezvous *first = begin(0, 4), *third = begin(2, 4);
    assert_int_equal(ddpm_rendezvous_give_up(first, 5), DDPM_ERROR_IO);
    assert_non_null(strstr(ddpm_error_message(), "4 processes were started, but rank 1, 3 has"));
    ddpm_rendezvous_close(&third);
    ddpm_rendezvous_close(&first);
}

static void notes_arrive_once(void **state)
{
    (void)state;
    struct ddpm_rendezvous *first = begin(0, 2), *second = begin(1, 2);
    int from;
    int64_t note;
    assert_int_equal(ddpm_rendezvous_tell(second, 7), DDPM_OK);
    let_it_be_old();
    ddpm_rendezvous_hear(first, &from, &note);
    assert_int_equal(from, 1);
    assert_int_equal(note, 7);
    ddpm_rendezvous_hear(first, &from, &note);
    assert_int_equal(from, -1);
    assert_int_equal(ddpm_rendezvous_tell(second, 7), DDPM_OK);
    let_it_be_old();
    ddpm_rendezvous_hear(first, &from, &note);
    assert_int_equal(from, 1);
    ddpm_rendezvous_close(&second);
    ddpm_rendezvous_close(&first);
}

static void an_end_is_told_with_its_reason(void **state)
{
    (void)state;
    struct ddpm_rendezvous *first = begin(0, 2), *second = begin(1, 2);
    let_it_be_old();
    assert_int_equal(ddpm_rendezvous_look(first), DDPM_OK);
    assert_true(ddpm_rendezvous_has(first, 1));
    ddpm_rendezvous_end(second, "the disk is full");
    ddpm_rendezvous_end(second, "something that follows from it");
    let_it_be_old();
    assert_int_equal(ddpm_rendezvous_look(first), DDPM_ERROR_IO);
    assert_non_null(strstr(ddpm_error_message(), "has ended: the disk is full"));
    assert_false(ddpm_rendezvous_has(first, 1));
    ddpm_rendezvous_close(&second);
    ddpm_rendezvous_close(&first);
}

/* Processes that were killed leave their files; `before` stands for them. */
static void files_of_an_earlier_job_do_no_harm(void **state)
{
    (void)state;
    struct ddpm_rendezvous *before[2] = {begin(0, 2), begin(1, 2)};
    publish(before[0]);
    struct ddpm_rendezvous *second = begin(1, 2);
    assert_found(second, false);
    ddpm_rendezvous_end(before[0], "killed");
    let_it_be_old();
    struct ddpm_rendezvous *late = begin(1, 2); /* an end from before it began does not matter */
    assert_found(late, false);
    struct ddpm_rendezvous *first = begin(0, 2);
    publish(first);
    let_it_be_old();
    assert_found(late, true);
    ddpm_rendezvous_close(&first);
    ddpm_rendezvous_close(&late);
    ddpm_rendezvous_close(&second);
    ddpm_rendezvous_close(&before[1]);
    ddpm_rendezvous_close(&before[0]);
}

static void other_jobs_and_damaged_files_are_passed_over(void **state)
{
    (void)state;
    char path[96];
    struct ddpm_rendezvous *other = begin(0, 3); /* of 3 processes, not 2 */
    publish(other);
    struct ddpm_rendezvous *second = begin(1, 2);
    assert_found(second, false);
    snprintf(path, sizeof path, "%s.0", meeting_file);
    assert_int_equal(truncate(path, 10), 0);
    assert_int_equal(truncate(meeting_file, 10), 0);
    let_it_be_old();
    assert_found(second, false);
    assert_int_equal(ddpm_rendezvous_give_up(second, 1), DDPM_ERROR_IO);
    assert_non_null(strstr(ddpm_error_message(), "but rank 0 has not arrived"));
    ddpm_rendezvous_close(&second);
    ddpm_rendezvous_close(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_address_is_for_those_that_have_come, make_meeting_folder,
                                        remove_meeting_folder),
        cmocka_unit_test_setup_teardown(who_is_missing_is_named, make_meeting_folder,
                                        remove_meeting_folder),
        cmocka_unit_test_setup_teardown(notes_arrive_once, make_meeting_folder,
                                        remove_meeting_folder),
        cmocka_unit_test_setup_teardown(an_end_is_told_with_its_reason, make_meeting_folder,
                                        remove_meeting_folder),
        cmocka_unit_test_setup_teardown(files_of_an_earlier_job_do_no_harm, make_meeting_folder,
                                        remove_meeting_folder),
        cmocka_unit_test_setup_teardown(other_jobs_and_damaged_files_are_passed_over,
                                        make_meeting_folder, remove_meeting_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

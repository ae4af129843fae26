/* SPDX-License-Identifier: Apache-2.0 */
#include "mail/queue_id.h"

#include "check.h"

TEST(an_id_has_time_z_and_tail)
{
	struct queue_id_maker m = {.tail = 51 * 51 + 1};
	char id[QUEUE_ID_SIZE];

	queue_id_make(&m, (struct wall_time){1700000000000051}, id);
	CHECK_INT(strlen(id), 6 + 4 + 1 + 3);
	CHECK_STR(str_n(id + 6, 8), STR("000zz101"));
	CHECK(queue_id_is_valid(str_of(id)));
}

TEST(ids_of_one_microsecond_differ_and_never_go_back)
{
	struct queue_id_maker m = {.tail = 7};
	char first[QUEUE_ID_SIZE], second[QUEUE_ID_SIZE], third[QUEUE_ID_SIZE];

	queue_id_make(&m, (struct wall_time){1700000000000000}, first);
	queue_id_make(&m, (struct wall_time){1700000000000000}, second);
	queue_id_make(&m, (struct wall_time){1600000000000000}, third);
	CHECK(str_cmp(str_of(first), str_of(second)) < 0);
	CHECK(str_cmp(str_of(second), str_of(third)) < 0);
}

TEST(the_largest_numbers_fit)
{
	struct queue_id_maker m = {.tail = UINT64_MAX};
	char id[QUEUE_ID_SIZE];

	queue_id_make(&m, (struct wall_time){INT64_C(9999999999) * 1000000 + 999999}, id);
	CHECK(strlen(id) < QUEUE_ID_SIZE);
	CHECK(queue_id_is_valid(str_of(id)));
}

TEST(ids_hold_letters_and_digits_only)
{
	CHECK(queue_id_is_valid(STR("A1B2C")));
	CHECK(!queue_id_is_valid(STR("A1B2")));
	CHECK(!queue_id_is_valid(STR("A1B2C/")));
	CHECK(!queue_id_is_valid(STR("0123456789012345678901234")));
}

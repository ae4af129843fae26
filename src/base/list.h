/* SPDX-License-Identifier: Apache-2.0 */
/* Doubly linked lists whose links lie inside the elements. An unlinked link points to itself. */
#pragma once

#include <stdbool.h>

#include "base/base.h"

struct list {
	struct list *next;
	struct list *prev;
};

static inline void list_init(struct list *head)
{
	head->next = head->prev = head;
}

static inline bool list_is_empty(const struct list *head)
{
	return head->next == head;
}

/* Inserts before `at`; with a head that is the end of the list. */
static inline void list_add(struct list *at, struct list *link)
{
	link->next = at;
	link->prev = at->prev;
	at->prev->next = link;
	at->prev = link;
}

static inline void list_add_first(struct list *head, struct list *link)
{
	list_add(head->next, link);
}

/* Harmless on a link that is in no list but was initialised. */
static inline void list_remove(struct list *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
	list_init(link);
}

/* The first link, or NULL. */
static inline struct list *list_first(struct list *head)
{
	return list_is_empty(head) ? NULL : head->next;
}

#define LIST_ENTRY(link, type, member) CONTAINER_OF(link, type, member)
/* `it` may be removed inside the loop. */
#define LIST_EACH(head, it) \
	for (struct list *it = (head)->next, *it##_next = it->next; it != (head); it = it##_next, it##_next = it->next)

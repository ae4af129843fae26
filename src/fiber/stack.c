/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stacks. They are cut from slabs of address space, each with a guard page at its low end;
 * only touched pages cost memory. Where the kernel can (6.13), guards are MADV_GUARD_INSTALL
 * marks, so that a slab stays one mapping and tens of thousands of fibers stay far below
 * vm.max_map_count; elsewhere the guard is a page without access. Used stacks are kept for
 * the next fiber, the last one first, because its pages are warm.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "fiber/fiber_internal.h"

#ifdef HAS_ASAN
#include <sanitizer/lsan_interface.h>
/* What only a waiting fiber's stack points to is no leak. */
#define stack_is_used(s) __lsan_register_root_region((s).low, (s).size)
#define stack_is_unused(s) __lsan_unregister_root_region((s).low, (s).size)
#else
#define stack_is_used(s) ((void)(s))
#define stack_is_unused(s) ((void)(s))
#endif

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#ifdef HAS_ASAN
enum { STACK_SPAN = 512 * 1024 };
#else
enum { STACK_SPAN = 128 * 1024 };
#endif
enum {
	SLAB_STACKS = 64,
	WARM_STACKS = 64 /* so many unused stacks keep their pages */
};

static struct {
	char **items; /* low ends, guard included */
	size_t count;
	size_t size;
	size_t page;
	bool has_no_guard_advice;
} unused;

static void guard_install(char *low)
{
	if (!unused.has_no_guard_advice) {
		if (!madvise(low, unused.page, MADV_GUARD_INSTALL))
			return;
		unused.has_no_guard_advice = true;
	}
	if (mprotect(low, unused.page, PROT_NONE))
		die("cannot protect the end of a stack: raise vm.max_map_count");
}

static void unused_add(char *low)
{
	if (unused.count == unused.size) {
		unused.size = unused.size ? 2 * unused.size : 2 * SLAB_STACKS;
		unused.items = mem_resize(unused.items, unused.size * sizeof(*unused.items));
	}
	unused.items[unused.count++] = low;
}

static void slab_add(void)
{
	size_t size = (size_t)SLAB_STACKS * STACK_SPAN;
	char *slab = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

	if (slab == MAP_FAILED)
		die("no address space for another %zu stacks", (size_t)SLAB_STACKS);
	if (!unused.page)
		unused.page = (size_t)sysconf(_SC_PAGESIZE);
	/* One touched page must not become a huge one. The call fails on kernels without huge pages. */
	madvise(slab, size, MADV_NOHUGEPAGE);
	for (size_t i = SLAB_STACKS; i-- > 0;) {
		guard_install(slab + i * STACK_SPAN);
		unused_add(slab + i * STACK_SPAN);
	}
}

struct stack stack_get(void)
{
	if (!unused.count)
		slab_add();

	struct stack s = {unused.items[--unused.count] + unused.page, STACK_SPAN - unused.page};

	stack_is_used(s);
	return s;
}

void stack_put(struct stack s)
{
	stack_is_unused(s);
	if (unused.count >= WARM_STACKS)
		madvise(s.low, s.size, MADV_DONTNEED);
	unused_add(s.low - unused.page);
}

void stack_trim(struct stack s, void *sp)
{
	/* The ABI lets a function use 128 bytes below its stack pointer. */
	uintptr_t end = ((uintptr_t)sp - 128) & ~(uintptr_t)(unused.page - 1);

	if (end > (uintptr_t)s.low)
		madvise(s.low, end - (uintptr_t)s.low, MADV_DONTNEED);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Switching stacks. On x86-64 and AArch64 some lines of assembly push what the ABI says a
 * function call preserves and exchange the stack pointers; elsewhere ucontext does the same,
 * slower. The floating-point control words are left alone: nobody here changes them.
 * The sanitizers are told of each switch.
 */
#include "fiber/fiber_internal.h"

#ifdef HAS_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef HAS_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#if defined(__x86_64__)

void context_swap(void **save_sp, void *next_sp);
__asm__(".text\n"
        ".balign 16\n"
        ".globl context_swap\n"
        ".hidden context_swap\n"
        ".type context_swap,@function\n"
        "context_swap:\n"
        "	pushq %rbp\n"
        "	pushq %rbx\n"
        "	pushq %r12\n"
        "	pushq %r13\n"
        "	pushq %r14\n"
        "	pushq %r15\n"
        "	movq %rsp, (%rdi)\n"
        "	movq %rsi, %rsp\n"
        "	popq %r15\n"
        "	popq %r14\n"
        "	popq %r13\n"
        "	popq %r12\n"
        "	popq %rbx\n"
        "	popq %rbp\n"
        "	ret\n"
        ".size context_swap,.-context_swap\n");

static void *first_frame(void *top, void (*entry)(void))
{
	void **sp = (void **)((uintptr_t)top & ~(uintptr_t)15);

	*--sp = NULL; /* the return address of entry(): ends backtraces */
	*--sp = (void *)entry;
	for (int i = 0; i < 6; i++)
		*--sp = NULL;
	return sp;
}

#elif defined(__aarch64__)

void context_swap(void **save_sp, void *next_sp);
__asm__(".text\n"
        ".balign 16\n"
        ".globl context_swap\n"
        ".hidden context_swap\n"
        ".type context_swap,%function\n"
        "context_swap:\n"
        "	sub sp, sp, #160\n"
        "	stp x19, x20, [sp, #0]\n"
        "	stp x21, x22, [sp, #16]\n"
        "	stp x23, x24, [sp, #32]\n"
        "	stp x25, x26, [sp, #48]\n"
        "	stp x27, x28, [sp, #64]\n"
        "	stp x29, x30, [sp, #80]\n"
        "	stp d8, d9, [sp, #96]\n"
        "	stp d10, d11, [sp, #112]\n"
        "	stp d12, d13, [sp, #128]\n"
        "	stp d14, d15, [sp, #144]\n"
        "	mov x9, sp\n"
        "	str x9, [x0]\n"
        "	mov sp, x1\n"
        "	ldp x19, x20, [sp, #0]\n"
        "	ldp x21, x22, [sp, #16]\n"
        "	ldp x23, x24, [sp, #32]\n"
        "	ldp x25, x26, [sp, #48]\n"
        "	ldp x27, x28, [sp, #64]\n"
        "	ldp x29, x30, [sp, #80]\n"
        "	ldp d8, d9, [sp, #96]\n"
        "	ldp d10, d11, [sp, #112]\n"
        "	ldp d12, d13, [sp, #128]\n"
        "	ldp d14, d15, [sp, #144]\n"
        "	add sp, sp, #160\n"
        "	ret\n"
        ".size context_swap,.-context_swap\n");

static void *first_frame(void *top, void (*entry)(void))
{
	void **sp = (void **)((uintptr_t)top & ~(uintptr_t)15) - 20;

	memset(sp, 0, 160);
	sp[11] = (void *)entry; /* x30 */
	return sp;
}

#else

#include <ucontext.h>

static void context_swap(struct context *from, struct context *to)
{
	if (!from->ucontext)
		from->ucontext = mem_alloc(sizeof(ucontext_t));
	swapcontext((ucontext_t *)from->ucontext, (ucontext_t *)to->ucontext);
}

#endif

void context_init(struct context *to, struct stack stack, void *top, void (*entry)(void))
{
	*to = (struct context){.stack = stack};
#if defined(__x86_64__) || defined(__aarch64__)
	to->sp = first_frame(top, entry);
#else
	ucontext_t *u = mem_alloc(sizeof(*u));

	getcontext(u);
	u->uc_stack.ss_sp = stack.low;
	u->uc_stack.ss_size = (size_t)((char *)top - stack.low);
	makecontext(u, entry, 0);
	to->ucontext = (struct ucontext_t *)u;
	to->sp = stack.low;
#endif
#ifdef HAS_TSAN
	to->tsan_fiber = __tsan_create_fiber(0);
#endif
}

void context_done(struct context *c)
{
#ifdef HAS_TSAN
	__tsan_destroy_fiber(c->tsan_fiber);
#endif
#ifdef HAS_ASAN
	__asan_unpoison_memory_region(c->stack.low, c->stack.size);
#endif
#if !defined(__x86_64__) && !defined(__aarch64__)
	free(c->ucontext);
#endif
}

void context_entered(struct context *self, struct context *left)
{
#ifdef HAS_ASAN
	const void *low;
	size_t size;

	__sanitizer_finish_switch_fiber(self->fake_stack, &low, &size);
	if (!left->stack.low)
		left->stack = (struct stack){(char *)low, size};
#endif
}

void context_switch(struct context *from, struct context *to, bool is_last)
{
#ifdef HAS_TSAN
	if (!from->tsan_fiber)
		from->tsan_fiber = __tsan_get_current_fiber();
	__tsan_switch_to_fiber(to->tsan_fiber, 0);
#endif
#ifdef HAS_ASAN
	__sanitizer_start_switch_fiber(is_last ? NULL : &from->fake_stack, to->stack.low, to->stack.size);
#endif
#if defined(__x86_64__) || defined(__aarch64__)
	context_swap(&from->sp, to->sp);
#else
	context_swap(from, to);
#endif
	context_entered(from, to);
}

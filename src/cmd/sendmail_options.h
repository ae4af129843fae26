/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of sendmail, as the programs of forty years write it. */
#pragma once

#include <stdbool.h>

#include "mail/envelope.h"

enum sendmail_mode {
	SENDMAIL_SEND,
	SENDMAIL_VERIFY,     /* -bv */
	SENDMAIL_MAILQ,      /* -bp */
	SENDMAIL_ALIASES,    /* -bi, -I */
	SENDMAIL_DAEMON,     /* -bd, -bl */
	SENDMAIL_SERVER,     /* -bs */
	SENDMAIL_FLUSH,      /* -q */
	SENDMAIL_FLUSH_ID,   /* -qI */
	SENDMAIL_FLUSH_SITE, /* -qR */
	SENDMAIL_NOTHING,    /* -q30m: a queue runner there is anyway */
};

struct sendmail_options {
	enum sendmail_mode mode;
	const char *config_dir; /* -C */
	const char *full_name;  /* -F */
	const char *sender;     /* -f, -r; NULL when not given */
	const char *flush;      /* the id or site of -qI, -qR */
	const char *alias_file; /* -oA */
	bool keeps_dots;        /* -i: a lone dot is text */
	bool takes_from_header; /* -t */
	bool is_utf8;           /* -O smtputf8=yes */
	bool is_requiretls;     /* -O requiretls=yes */
	bool is_8bit;           /* -B 8BITMIME */
	unsigned verbose;       /* -v, counted */
	uint8_t notify;         /* -N */
	uint8_t ret;            /* -R */
	const char *envid;      /* -V */
	char **recipients;      /* ends with NULL */
};

/* 0; or -EINVAL with words for the person in *why. */
[[nodiscard]] int sendmail_parse(int argc, char **argv, struct sendmail_options *ret_options, struct buf *why);

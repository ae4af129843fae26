/* SPDX-License-Identifier: Apache-2.0 */
/* TLS contexts made from a service's parameters (OpenSSL 3), and what a handshake agreed on. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"

struct tls_context;
struct tls_files;
struct tls_sni;
struct tlsa;
struct stream;
struct view;

/* What was agreed. Strings live as long as the stream. */
struct tls_info {
	struct str protocol; /* "TLSv1.3" */
	struct str cipher;   /* "TLS_AES_256_GCM_SHA384" */
	int cipher_bits;     /* used */
	int algorithm_bits;
	struct str key_exchange;     /* "X25519", "ECDHE (P-256)"; shape of tls.md's summary */
	struct str server_signature; /* "ECDSA (prime256v1)", "RSA-PSS (2048 bits)" */
	struct str server_digest;
	struct str client_signature;
	struct str client_digest;
	struct str sni; /* what we asked for, or what a client asked for and got */
	bool is_resumed;
	bool has_peer_certificate;
	bool is_peer_trusted;   /* the chain ends at one of our authorities; where there are TLSA records, it matches one */
	bool is_issuer_unknown; /* that is why not */
	bool is_peer_expired;   /* because of its dates, that is */
	bool is_peer_misnamed;  /* because of its names, where OpenSSL looked at them */
	struct str distrust;    /* why not, in words */
	struct str peer_cn;
	struct str peer_issuer_cn;
};

/* What became of the name that a client asked for. */
enum tls_sni_fate {
	TLS_SNI_NONE,    /* it asked for none, or the server has but one chain */
	TLS_SNI_MATCHED, /* it was shown the chain of that name */
	TLS_SNI_UNKNOWN, /* the usual chain */
	TLS_SNI_INVALID, /* likewise: that is no name */
	TLS_SNI_BROKEN,  /* there is a chain for it, but not a good one: the handshake failed */
};

/*
 * From smtpd_tls_* / smtp_tls_* of the view, which must stay. Reads key and certificate files. Fails with
 * what is wrong, which file, and what to do. A server's context is made all the same then: it is not ready, and
 * becomes so when its files are mended and tls_contexts_renew() has seen it.
 */
[[nodiscard]] int tls_server_context_new(const struct view *v, struct tls_context **ret_context, struct buf *why);
[[nodiscard]] int tls_client_context_new(const struct view *v, bool is_mandatory, struct tls_context **ret_context,
                                         struct buf *why);
/* What a client wants on one connection beyond its context. */
struct tls_wish {
	struct str servername;   /* SNI; empty: none is sent */
	struct str ciphers;      /* an OpenSSL list; empty: the context's */
	struct str anchor_files; /* trusted in place of the context's authorities; parted by blanks */
	bool has_versions;       /* these, not the context's */
	uint64_t versions_off;   /* as tls_protocols_parse() tells them */
	const struct tlsa *tlsa; /* the server must match one of these; none: it is not held to any */
	size_t tlsa_count;
	struct str tlsa_base;   /* the name below which they are found */
	struct str names;       /* what else a certificate under an authority of theirs may name; parted by blanks */
	bool is_wildcard_deep;  /* "*.example.org" there stands for more than one label */
	struct str session_key; /* sessions kept under it may be resumed; empty: none is, and none is kept */
	struct duration session_time;
};

void tls_context_free(struct tls_context *ctx);
/* What the operator should know although the context works, a line each. */
void tls_context_warnings(const struct view *v, struct buf *why);
/* Lets clients choose a chain by name; the context owns `sni` from now on. */
void tls_context_set_sni(struct tls_context *ctx, struct tls_sni *sni);
bool tls_context_is_ready(const struct tls_context *ctx);
/*
 * Makes all contexts of the process anew for the connections that come, from `files` where these have what is
 * needed. One whose files are broken stays as it was; the first error comes back, all reasons stand in `why`.
 */
[[nodiscard]] int tls_contexts_renew(const struct tls_files *files, struct buf *why);
/* "TLSv1.3 with cipher X (256/256 bits) key-exchange ...": the tail of the summary log line. */
void tls_info_summary(struct buf *to, const struct tls_info *info);

/* Does the certificate of the server at the other end hold this name? ".example.org" means all names below. */
[[nodiscard]] bool tls_peer_has_name(const struct stream *s, struct str name, bool is_wildcard_deep);
/* Is the digest of its certificate or of its public key this one ("AB:CD:..", in either case)? */
[[nodiscard]] bool tls_peer_has_fingerprint(const struct stream *s, struct str digest, struct str fingerprint);
/* Appends "AB:CD:..": the digest of the other side's certificate, or of its public key. Nothing when it showed none. */
void tls_peer_fingerprint(struct buf *to, const struct stream *s, struct str digest, bool is_of_key);
/* -EINVAL for a digest that OpenSSL does not know. */
[[nodiscard]] int tls_digest_check(struct str name);
/*
 * Appends what ties a login to this TLS connection: tls-exporter (RFC 9266) of TLS 1.3, tls-unique (RFC 5929) of older
 * ones. The same on both sides. -ENOTSUP in clear and where there is nothing that an attacker could not share.
 */
[[nodiscard]] int tls_channel_binding(const struct stream *s, struct buf *to, bool *ret_is_exporter);

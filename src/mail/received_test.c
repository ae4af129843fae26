/* SPDX-License-Identifier: Apache-2.0 */
#include "mail/received.h"

#include <stdlib.h>

#include "check.h"

static struct received sample(void)
{
	setenv("TZ", "UTC0", 1);
	return (struct received){.helo = STR("h"),
	                         .client_name = STR("unknown"),
	                         .client_address = STR("192.0.2.1"),
	                         .host = STR("mx.example.org"),
	                         .mail_name = STR("Postfix"),
	                         .protocol = STR("ESMTP"),
	                         .queue_id = STR("4fVHg10K5Zz1k"),
	                         .when = {1700000000000000}};
}

TEST(a_single_recipient_is_named)
{
	struct buf b = BUF_INIT(2000);
	struct received r = sample();

	r.recipient = STR("a@example.org");
	received_format(&b, &r);
	CHECK_STR(buf_str(&b),
	          STR("Received: from h (unknown [192.0.2.1])\r\n\tby mx.example.org (Postfix) with ESMTP id 4fVHg10K5Zz1k\r\n"
	              "\tfor <a@example.org>; Tue, 14 Nov 2023 22:13:20 +0000 (UTC)\r\n"));
	buf_done(&b);
}

TEST(tls_and_the_authenticated_sender_get_lines)
{
	struct buf b = BUF_INIT(2000);
	struct received r = sample();

	r.client_address = STR("2001:db8::1");
	r.tls = STR("TLSv1.3 with cipher X (256/256 bits)");
	r.tls_details = STR("key-exchange X25519");
	r.tls_peer = STR("No client certificate requested");
	r.sasl_username = STR("fred");
	received_format(&b, &r);
	CHECK_STR(
		buf_str(&b),
		STR("Received: from h (unknown [IPv6:2001:db8::1])\r\n\t(using TLSv1.3 with cipher X (256/256 bits)\r\n"
	            "\t key-exchange X25519)\r\n\t(No client certificate requested)\r\n\t(Authenticated sender: fred)\r\n"
	            "\tby mx.example.org (Postfix) with ESMTP id 4fVHg10K5Zz1k;\r\n\tTue, 14 Nov 2023 22:13:20 +0000 (UTC)\r\n"));
	buf_done(&b);
}

TEST(local_mail_names_the_user_id)
{
	struct buf b = BUF_INIT(2000);
	struct received r = sample();

	r.is_local = r.has_uid = true;
	r.uid = 1000;
	received_format(&b, &r);
	CHECK_STR(buf_str(&b), STR("Received: by mx.example.org (Postfix, from userid 1000)\r\n\tid 4fVHg10K5Zz1k; "
	                           "Tue, 14 Nov 2023 22:13:20 +0000 (UTC)\r\n"));
	buf_done(&b);
}

TEST(protocol_names_tell_tls_and_authentication)
{
	CHECK_STR(received_protocol(false, false, false, false), STR("SMTP"));
	CHECK_STR(received_protocol(true, true, true, false), STR("ESMTPSA"));
	CHECK_STR(received_protocol(true, false, true, true), STR("UTF8SMTPA"));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The smtpd role. */
#include "smtpd.h"

int main(int argc, char **argv)
{
	return process_main(&smtpd_role, argc, argv);
}

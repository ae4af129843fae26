/* SPDX-License-Identifier: Apache-2.0 */
/* The jobs that qmgr gives to this process. */
#pragma once

#include "process/process.h"

/* Serves a queue manager until its channel ends, which it frees. */
void local_jobs_serve(struct process *p, struct channel *qmgr);
/* Ends the process when what is under way is finished. */
void local_jobs_drain(struct process *p);

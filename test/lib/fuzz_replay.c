/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target over files: every file named, and every file of every folder named.
 * So seeds and past crashes are ordinary tests; with -Dfuzz=true libFuzzer's main takes its place.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t replayed_count;

static int replay_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = NULL;
	size_t size = 0, room = 0;

	if (!file) {
		perror(path);
		return 1;
	}
	do {
		room = room ? room * 2 : 65536;
		data = realloc(data, room);
		if (!data)
			abort();
		size += fread(data + size, 1, room - size, file);
	} while (size == room);
	fclose(file);
	/* A copy of just that size, so that a sanitizer sees reads past the end. */
	data = realloc(data, size ? size : 1);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	replayed_count++;
	return 0;
}

static int replay(const char *path)
{
	struct dirent *entry;
	struct stat st;
	int failed = 0;
	DIR *dir;

	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return replay_file(path);
	dir = opendir(path);
	if (!dir)
		return 1;
	while ((entry = readdir(dir))) {
		char inner[4096];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
		failed |= replay(inner);
	}
	closedir(dir);
	return failed;
}

int main(int argc, char **argv)
{
	int failed = 0;

	for (int i = 1; i < argc; i++)
		failed |= replay(argv[i]);
	if (replayed_count == 0) {
		fprintf(stderr, "nothing to replay: the corpus is empty\n");
		return 1;
	}
	return failed;
}

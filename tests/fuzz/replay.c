/*
 * Runs a fuzz target over files, and over those in directories: what libFuzzer's
 * main() is to `make fuzz`, this is to `make test`.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "common/base/alloc.h"
#include "tests/fuzz/fuzz.h"

static void replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct stat st;

	if (!f || fstat(fileno(f), &st)) {
		perror(path);
		exit(2);
	}
	/* Exactly as long as the input, so that a sanitizer sees what reads beyond. */
	const size_t size = (size_t)st.st_size;
	uint8_t *data AUTO_FREE = xmalloc(size ? size : 1);
	if (fread(data, 1, size, f) != size) {
		perror(path);
		exit(2);
	}
	fclose(f);
	(void)LLVMFuzzerTestOneInput(data, size);
}

static size_t replay(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	size_t count = 0;

	if (!dir) {
		replay_file(path);
		return 1;
	}
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		char *child AUTO_FREE = xasprintf("%s/%s", path, entry->d_name);
		count += replay(child);
	}
	closedir(dir);
	return count;
}

int main(int argc, char **argv)
{
	size_t count = 0;

	for (int i = 1; i < argc; i++)
		count += replay(argv[i]);
	printf("%zu inputs\n", count);
	return count ? 0 : 1;
}

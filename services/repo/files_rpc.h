/* The methods of files, and what their rpc files share. */
#ifndef SERVICES_REPO_FILES_RPC_H
#define SERVICES_REPO_FILES_RPC_H

#include "services/repo/rpc_internal.h"

enum { FILE_CHUNK_MAX_BYTES = 1 << 20 };

/* A file or directory that a request names. */
struct file_place {
	struct collection *collection; /* file_place_release() */
	const char *record_id, *path;
};

/*
 * Find the collection and check names; @may_be_root: the path may be empty.
 * INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED as repo_acquire().
 */
struct file_names {
	const char *ns, *collection, *record_id, *path;
	bool may_be_root;
};
enum status file_place_find(struct repo *repo, void *call, const struct file_names *names,
			    enum access access, struct file_place *ret,
			    struct error *err) MUST_CHECK;

/* The same for a request with a data_uri, which stands alone. */
enum status file_place_find_uri(struct repo *repo, void *call, const char *data_uri,
				const struct file_names *names, struct file_place *ret,
				struct error *err) MUST_CHECK;

/*
 * The file there and its bytes; *ret_fd is the caller's. NOT_FOUND: there is none.
 * FAILED_PRECONDITION: it is a reference. DATA_LOSS: its bytes are missing.
 */
enum status file_place_open(const struct file_place *place, struct arena *arena,
			    struct store_file *ret, int *ret_fd, struct error *err) MUST_CHECK;

Collector__FileInfo *file_info_of(struct arena *arena, const struct collection *c,
				  const struct store_file *file);

/*
 * Carry out changes of files, after a record's write if there is one (its id
 * then is the record's), and wait. What is nobody's then is removed from the disk.
 */
enum status file_changes_run(struct repo *repo, struct collection *c, const char *record_id,
			     struct store_file_changes *changes, struct store_write *record,
			     struct error *err) MUST_CHECK;

/* The store said no: certainly there is no row, now or after a crash. */
bool file_changes_refused(enum status status);

/*
 * Remove what a write dropped: now, or on the pool for who must not block.
 * @changes->dropped is empty then.
 */
void file_changes_clean(struct collection *c, struct store_file_changes *changes);
void file_changes_clean_later(struct repo *repo, struct collection *c,
			      struct store_file_changes *changes);

void repo_put_file(Collector__CollectionService_Service *service,
		   const Collector__PutFileRequest *request,
		   Collector__PutFileResponse_Closure reply, void *call);
void repo_get_file(Collector__CollectionService_Service *service,
		   const Collector__GetFileRequest *request,
		   Collector__GetFileResponse_Closure reply, void *call);
void repo_list_files(Collector__CollectionService_Service *service,
		     const Collector__ListFilesRequest *request,
		     Collector__ListFilesResponse_Closure reply, void *call);
void repo_delete_file(Collector__CollectionService_Service *service,
		      const Collector__DeleteFileRequest *request,
		      Collector__DeleteFileResponse_Closure reply, void *call);
void repo_put_dir(Collector__CollectionService_Service *service,
		  const Collector__PutDirRequest *request,
		  Collector__PutDirResponse_Closure reply, void *call);
void repo_get_dir(Collector__CollectionService_Service *service,
		  const Collector__GetDirRequest *request,
		  Collector__GetDirResponse_Closure reply, void *call);

#endif

# Collector: everything is built from here, without recursion. `make help` lists the targets.
#
#   BUILD=dir            where everything that is made goes (default: build)
#   SANITIZE=address     or thread: instrumented, in $(BUILD)/<name>; fuzzer: see `make fuzz`
#   WERROR=1             warnings are errors
#   V=1                  print the commands

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
# Objects are kept, also those that only a pattern rule names.
.SECONDARY:
SHELL := /bin/bash

BUILD    ?= build
SANITIZE ?=
ifneq ($(SANITIZE),)
O := $(BUILD)/$(SANITIZE)
else
O := $(BUILD)
endif
GEN := $(O)/gen
OBJ := $(O)/obj
BIN := $(O)/bin
LIB := $(O)/lib

prefix  ?= /usr/local
bindir  ?= $(prefix)/bin
DESTDIR ?=
VERSION := 0.1.0

# ------------------------------------------------------------------ flags

CC      ?= cc
CXX     ?= c++
AR      ?= ar
PROTOC  ?= protoc
OPT     ?= -O2 -g
PYTHON  ?= /usr/bin/python3
FUZZ_CC  ?= clang
FUZZ_CXX ?= clang++

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wconversion \
	-Wswitch-enum -Wundef -Wno-format-truncation
ifeq ($(shell $(CC) --version 2>/dev/null | grep -c clang),1)
WARN := $(filter-out -Wno-format-truncation,$(WARN))
endif
ifeq ($(WERROR),1)
WARN += -Werror
endif
ifeq ($(SANITIZE),address)
SAN := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
else ifeq ($(SANITIZE),thread)
SAN := -fsanitize=thread -fno-omit-frame-pointer
else ifeq ($(SANITIZE),fuzzer)
SAN := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined \
	-fno-omit-frame-pointer
else ifneq ($(SANITIZE),)
$(error SANITIZE must be address, thread or fuzzer, not '$(SANITIZE)')
endif

PKGS     := grpc libprotobuf-c sqlite3 libevent libevent_pthreads jansson zlib
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
CPPFLAGS += -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE -DCOLLECTOR_VERSION='"$(VERSION)"' \
	-I. -isystem $(GEN) $(PKG_CFLAGS)
CFLAGS   ?=
ALL_CFLAGS := -std=c11 $(OPT) $(SAN) -pthread $(CFLAGS)
LDLIBS   := -lgrpc -lgpr -lprotobuf-c -lsqlite3 -levent -levent_pthreads -ljansson -lz -lm -lpthread
ALL_LDFLAGS := $(SAN) -pthread -rdynamic $(LDFLAGS)

ifeq ($(V),1)
Q :=
say = @:
else
Q := @
say = @printf '  %-8s %s\n'
endif

# ---------------------------------------------------------------- sources

PROTO_SRC := \
	collector/collection.proto \
	collector/collection_repo.proto \
	collector/collection_server.proto \
	collector/common.proto \
	collector/console.proto \
	collector/daemon.proto \
	collector/dispatcher.proto \
	collector/registry.proto \
	collector/worker.proto \
	google/rpc/error_details.proto \
	google/rpc/status.proto \
	grpc/health/v1/health.proto \
	grpc/reflection/v1/reflection.proto \
	grpc/reflection/v1alpha/reflection.proto

# Of others, as the system has them.
WELL_KNOWN_SRC := \
	google/protobuf/any.proto \
	google/protobuf/descriptor.proto \
	google/protobuf/duration.proto \
	google/protobuf/empty.proto \
	google/protobuf/field_mask.proto \
	google/protobuf/struct.proto \
	google/protobuf/timestamp.proto \
	google/protobuf/wrappers.proto

# The rest of theirs: built in for those who import them, and unused by us.
DESCRIBED_SRC := \
	google/protobuf/api.proto \
	google/protobuf/compiler/plugin.proto \
	google/protobuf/source_context.proto \
	google/protobuf/type.proto

TEST_PROTO_SRC := \
	tests/support/echo.proto

# Messages of every kind, for tests that convert them in C and in C++.
TYPES_PROTO_SRC := \
	types/proto2.proto \
	types/proto3.proto

BASE_SRC := \
	common/base/address.c \
	common/base/alloc.c \
	common/base/arena.c \
	common/base/clock.c \
	common/base/hash.c \
	common/base/log.c \
	common/base/map.c \
	common/base/names.c \
	common/base/random.c \
	common/base/resolver.c \
	common/base/sha256.c \
	common/base/status.c \
	common/base/strbuf.c \
	common/base/utf8.c

REFLECT_SRC := \
	common/reflect/builtin.c \
	common/reflect/calendar.c \
	common/reflect/comments.c \
	common/reflect/compat.c \
	common/reflect/compat_default.c \
	common/reflect/compat_enum.c \
	common/reflect/compat_field.c \
	common/reflect/compat_file.c \
	common/reflect/compat_message.c \
	common/reflect/compat_reserved.c \
	common/reflect/compat_service.c \
	common/reflect/cwire.c \
	common/reflect/declaration.c \
	common/reflect/declare.c \
	common/reflect/descriptor.c \
	common/reflect/file_proto.c \
	common/reflect/json_in.c \
	common/reflect/json_in_known.c \
	common/reflect/json_in_scalar.c \
	common/reflect/json_known.c \
	common/reflect/json_lex.c \
	common/reflect/json_out.c \
	common/reflect/json_sink.c \
	common/reflect/jsonb.c \
	common/reflect/link.c \
	common/reflect/load.c \
	common/reflect/map_key.c \
	common/reflect/mask.c \
	common/reflect/mask_tree.c \
	common/reflect/members.c \
	common/reflect/normalize.c \
	common/reflect/pool.c \
	common/reflect/proto_options.c \
	common/reflect/proto_printer.c \
	common/reflect/proto_text.c \
	common/reflect/proto_types.c \
	common/reflect/ranges.c \
	common/reflect/reserved.c \
	common/reflect/rules_default.c \
	common/reflect/rules_enum.c \
	common/reflect/rules_field.c \
	common/reflect/rules_file.c \
	common/reflect/rules_message.c \
	common/reflect/scan.c \
	common/reflect/schema.c \
	common/reflect/schema_types.c \
	common/reflect/scope.c \
	common/reflect/search.c \
	common/reflect/skeleton.c \
	common/reflect/trie.c \
	common/reflect/typed_collection.c \
	common/reflect/validate.c \
	common/reflect/wire.c

STORE_SRC := \
	common/store/database.c \
	common/store/log_vfs.c

RPC_SRC := \
	common/rpc/call.c \
	common/rpc/channel.c \
	common/rpc/client.c \
	common/rpc/collect.c \
	common/rpc/core.c \
	common/rpc/details.c \
	common/rpc/due.c \
	common/rpc/fallback.c \
	common/rpc/health.c \
	common/rpc/held.c \
	common/rpc/hop_headers.c \
	common/rpc/identity.c \
	common/rpc/inflate.c \
	common/rpc/kinds.c \
	common/rpc/loop.c \
	common/rpc/method_api.c \
	common/rpc/outbound.c \
	common/rpc/outbox.c \
	common/rpc/patience.c \
	common/rpc/payload.c \
	common/rpc/pool.c \
	common/rpc/post.c \
	common/rpc/proxy.c \
	common/rpc/reflection_service.c \
	common/rpc/relay.c \
	common/rpc/server.c \
	common/rpc/service.c \
	common/rpc/stats.c \
	common/rpc/status_code.c \
	common/rpc/stream.c \
	common/rpc/unary.c \
	common/rpc/wait.c

DAEMON_SRC := \
	common/daemon/daemon.c \
	common/daemon/data_dir.c \
	common/daemon/notify.c \
	common/daemon/numbers.c \
	common/daemon/options.c

CLIENT_SRC := \
	common/client/collection_records.c \
	common/client/daemon_client.c \
	common/client/dispatch_records.c \
	common/client/dispatcher_client.c \
	common/client/registry_client.c \
	common/client/registry_watch.c \
	common/client/repo_client.c \
	common/client/repo_follower.c \
	common/client/repo_watch.c \
	common/client/type_cache.c \
	common/client/type_follower.c \
	common/client/workflow_expression.c \
	common/client/workflow_records.c

REGISTRY_SRC := \
	services/registry/breakage.c \
	services/registry/breakage_rpc.c \
	services/registry/call_use.c \
	services/registry/catalog.c \
	services/registry/change.c \
	services/registry/change_rpc.c \
	services/registry/collection_services.c \
	services/registry/collection_use.c \
	services/registry/copies.c \
	services/registry/dependents.c \
	services/registry/diff.c \
	services/registry/diff_rpc.c \
	services/registry/disk.c \
	services/registry/feed.c \
	services/registry/history.c \
	services/registry/import.c \
	services/registry/import_order.c \
	services/registry/import_rpc.c \
	services/registry/list_rpc.c \
	services/registry/lookup_rpc.c \
	services/registry/losses.c \
	services/registry/manifest.c \
	services/registry/policy.c \
	services/registry/publish.c \
	services/registry/published.c \
	services/registry/reality.c \
	services/registry/register_rpc.c \
	services/registry/reflector.c \
	services/registry/registered.c \
	services/registry/registration.c \
	services/registry/removal.c \
	services/registry/rpc.c \
	services/registry/schema_rpc.c \
	services/registry/service_file.c \
	services/registry/snapshot.c \
	services/registry/template_use.c \
	services/registry/tree.c \
	services/registry/tree_commit.c \
	services/registry/users.c \
	services/registry/watch_rpc.c

REPO_SRC := \
	services/repo/batch_rpc.c \
	services/repo/build_store.c \
	services/repo/builder.c \
	services/repo/catalog.c \
	services/repo/catalog_entry.c \
	services/repo/catalog_modify.c \
	services/repo/changes_store.c \
	services/repo/collection.c \
	services/repo/collection_rpc.c \
	services/repo/condition_store.c \
	services/repo/counters_store.c \
	services/repo/describe_rpc.c \
	services/repo/dir_rpc.c \
	services/repo/directory.c \
	services/repo/download_rpc.c \
	services/repo/explain_rpc.c \
	services/repo/explain_store.c \
	services/repo/feed_store.c \
	services/repo/file_streams.c \
	services/repo/file_uri.c \
	services/repo/files.c \
	services/repo/files_rpc.c \
	services/repo/files_store.c \
	services/repo/filter_rpc.c \
	services/repo/fingerprint.c \
	services/repo/invoke_rpc.c \
	services/repo/labels_store.c \
	services/repo/lease_rpc.c \
	services/repo/lease_store.c \
	services/repo/left_overs.c \
	services/repo/modify_rpc.c \
	services/repo/modify_store.c \
	services/repo/page_token.c \
	services/repo/parallel.c \
	services/repo/query.c \
	services/repo/query_store.c \
	services/repo/query_text.c \
	services/repo/ranked_store.c \
	services/repo/read_rpc.c \
	services/repo/read_store.c \
	services/repo/requests_store.c \
	services/repo/rpc.c \
	services/repo/schema_store.c \
	services/repo/search_collections_rpc.c \
	services/repo/search_rpc.c \
	services/repo/shape_store.c \
	services/repo/sqlite_store.c \
	services/repo/text_store.c \
	services/repo/turns.c \
	services/repo/types.c \
	services/repo/upload_rpc.c \
	services/repo/vector.c \
	services/repo/vector_cache.c \
	services/repo/vector_field.c \
	services/repo/vector_store.c \
	services/repo/waits.c \
	services/repo/watch_rpc.c \
	services/repo/write_rpc.c \
	services/repo/write_store.c \
	services/repo/writer.c

DISPATCHER_SRC := \
	services/dispatcher/addresses.c \
	services/dispatcher/attach_rpc.c \
	services/dispatcher/attached.c \
	services/dispatcher/bindings.c \
	services/dispatcher/candidates.c \
	services/dispatcher/dispatch.c \
	services/dispatcher/explain.c \
	services/dispatcher/front.c \
	services/dispatcher/handler_call.c \
	services/dispatcher/handler_rpc.c \
	services/dispatcher/handlers.c \
	services/dispatcher/hearsay.c \
	services/dispatcher/history.c \
	services/dispatcher/identity.c \
	services/dispatcher/mesh.c \
	services/dispatcher/mesh_connect.c \
	services/dispatcher/mesh_ping.c \
	services/dispatcher/mesh_reach.c \
	services/dispatcher/mesh_rpc.c \
	services/dispatcher/native.c \
	services/dispatcher/peers.c \
	services/dispatcher/records.c \
	services/dispatcher/rpc.c \
	services/dispatcher/sampling.c \
	services/dispatcher/typed.c \
	services/dispatcher/wrapper_rpc.c \
	services/dispatcher/wrappers.c

WORKER_SRC := \
	services/worker/active.c \
	services/worker/attempt.c \
	services/worker/definition.c \
	services/worker/definition_rpc.c \
	services/worker/delay.c \
	services/worker/engine.c \
	services/worker/keeper.c \
	services/worker/rpc.c \
	services/worker/run.c \
	services/worker/template.c

CONSOLE_SRC := \
	services/console/display.c \
	services/console/gather.c \
	services/console/rpc.c

CTL_SRC := \
	services/console/ctl/arguments.c \
	services/console/ctl/breakages.c \
	services/console/ctl/collection_commands.c \
	services/console/ctl/console_commands.c \
	services/console/ctl/describe.c \
	services/console/ctl/descriptor_input.c \
	services/console/ctl/dispatcher_commands.c \
	services/console/ctl/file_commands.c \
	services/console/ctl/filter.c \
	services/console/ctl/import.c \
	services/console/ctl/labels.c \
	services/console/ctl/output.c \
	services/console/ctl/paging.c \
	services/console/ctl/protoc.c \
	services/console/ctl/record_commands.c \
	services/console/ctl/registry_change.c \
	services/console/ctl/registry_commands.c \
	services/console/ctl/rpc_commands.c \
	services/console/ctl/schema_command.c \
	services/console/ctl/session.c \
	services/console/ctl/status_commands.c \
	services/console/ctl/watch_commands.c \
	services/console/ctl/workflow_commands.c

# One Check binary each; tests/unit/<area>/test_<module>.c
UNIT_TESTS := \
	tests/unit/base/test_address.c \
	tests/unit/base/test_arena.c \
	tests/unit/base/test_hash.c \
	tests/unit/base/test_map.c \
	tests/unit/base/test_names.c \
	tests/unit/base/test_random.c \
	tests/unit/base/test_resolver.c \
	tests/unit/base/test_sha256.c \
	tests/unit/base/test_status.c \
	tests/unit/base/test_strbuf.c \
	tests/unit/base/test_utf8.c \
	tests/unit/client/test_type_cache.c \
	tests/unit/ctl/test_arguments.c \
	tests/unit/ctl/test_descriptor_input.c \
	tests/unit/ctl/test_filter.c \
	tests/unit/daemon/test_data_dir.c \
	tests/unit/daemon/test_options.c \
	tests/unit/dispatcher/test_dispatch.c \
	tests/unit/dispatcher/test_hearsay.c \
	tests/unit/dispatcher/test_peers.c \
	tests/unit/dispatcher/test_sampling.c \
	tests/unit/reflect/test_compat.c \
	tests/unit/reflect/test_cwire.c \
	tests/unit/reflect/test_json.c \
	tests/unit/reflect/test_json_options.c \
	tests/unit/reflect/test_mask.c \
	tests/unit/reflect/test_pool.c \
	tests/unit/reflect/test_pool_threads.c \
	tests/unit/reflect/test_proto_text.c \
	tests/unit/reflect/test_schema.c \
	tests/unit/reflect/test_search.c \
	tests/unit/reflect/test_trie.c \
	tests/unit/reflect/test_typed_collection.c \
	tests/unit/reflect/test_wire.c \
	tests/unit/registry/test_catalog.c \
	tests/unit/registry/test_feed.c \
	tests/unit/registry/test_manifest.c \
	tests/unit/registry/test_registrar.c \
	tests/unit/registry/test_snapshot.c \
	tests/unit/registry/test_tree.c \
	tests/unit/repo/test_files.c \
	tests/unit/repo/test_page_token.c \
	tests/unit/repo/test_query.c \
	tests/unit/repo/test_rebuild.c \
	tests/unit/repo/test_requests.c \
	tests/unit/repo/test_schema.c \
	tests/unit/repo/test_store.c \
	tests/unit/repo/test_text.c \
	tests/unit/repo/test_vector.c \
	tests/unit/repo/test_writer.c \
	tests/unit/rpc/test_channel.c \
	tests/unit/rpc/test_collect.c \
	tests/unit/rpc/test_core.c \
	tests/unit/rpc/test_due.c \
	tests/unit/rpc/test_inflate.c \
	tests/unit/rpc/test_patience.c \
	tests/unit/rpc/test_pool.c \
	tests/unit/rpc/test_post.c \
	tests/unit/rpc/test_proxy.c \
	tests/unit/rpc/test_proxy_next.c \
	tests/unit/rpc/test_proxy_rules.c \
	tests/unit/rpc/test_server.c \
	tests/unit/rpc/test_stats.c \
	tests/unit/rpc/test_status_code.c \
	tests/unit/rpc/test_stream.c \
	tests/unit/store/test_database.c \
	tests/unit/store/test_log_vfs.c \
	tests/unit/worker/test_definition.c \
	tests/unit/worker/test_run.c \
	tests/unit/worker/test_template.c

# Helpers linked into every unit test of C.
TEST_SUPPORT_SRC := \
	tests/support/bare_server.c \
	tests/support/echo_service.c \
	tests/support/metadata.c \
	tests/support/random_message.c \
	tests/support/received.c \
	tests/support/relay_server.c \
	tests/support/stream_client.c \
	tests/support/suite.c \
	tests/support/types.c \
	tests/unit/reflect/fixture.c \
	tests/unit/registry/testdir.c

# Programs that tests and benches run: <directory>/<name>.c, one file each.
TEST_PROGRAMS := \
	tests/bench/attached_echo.c \
	tests/bench/bare_echo.c \
	tests/bench/bare_proxy.c \
	tests/bench/echo_server.c \
	tests/bench/load.c \
	tests/bench/memory_scan.c \
	tests/bench/pool_bench.c \
	tests/bench/raw_sqlite.c \
	tests/bench/reflect.c \
	tests/bench/streams.c \
	tests/compat/findings.c \
	tests/conformance/testee.c \
	tests/link/linker.c \
	tests/schema/messages.c

# tests/fuzz/<name>.c: what is done with any bytes.
FUZZ_TARGETS := \
	descriptor \
	differential \
	json \
	mask \
	search \
	wire
FUZZ_SRC := tests/fuzz/fuzz.c tests/fuzz/replay.c $(FUZZ_TARGETS:%=tests/fuzz/%.c)

# Every crash of the repo's writing, one by one.
CRASH_SRC := \
	tests/crash/disk.c \
	tests/crash/expectation.c \
	tests/crash/file_world.c \
	tests/crash/intercept.c \
	tests/crash/journal.c \
	tests/crash/lease_world.c \
	tests/crash/modify_world.c \
	tests/crash/repo.c \
	tests/crash/sound_world.c \
	tests/crash/vector_world.c \
	tests/crash/vfs.c \
	tests/crash/world.c

DAEMONS := registry repo dispatcher worker console
PROGRAMS := $(DAEMONS:%=$(BIN)/collector-%) $(BIN)/collectorctl

# ------------------------------------------------------------------ rules

LAYERS := base reflect store rpc daemon client
base_SRC       := $(BASE_SRC)
reflect_SRC    := $(REFLECT_SRC)
store_SRC      := $(STORE_SRC)
rpc_SRC        := $(RPC_SRC)
daemon_SRC     := $(DAEMON_SRC)
client_SRC     := $(CLIENT_SRC)
registry_SRC   := $(REGISTRY_SRC)
repo_SRC       := $(REPO_SRC)
dispatcher_SRC := $(DISPATCHER_SRC)
worker_SRC     := $(WORKER_SRC)
console_SRC    := $(CONSOLE_SRC)
ctl_SRC        := $(CTL_SRC)
support_SRC    := $(TEST_SUPPORT_SRC)
MODULES := $(LAYERS) $(DAEMONS) ctl support

OUR_SRC := $(foreach m,$(MODULES),$($(m)_SRC)) \
	$(wildcard $(DAEMONS:%=services/%/main.c) services/console/ctl/main.c) \
	$(UNIT_TESTS) $(TEST_PROGRAMS) $(FUZZ_SRC) $(CRASH_SRC) tests/mask/random.c
obj = $(patsubst %.c,$(OBJ)/%.o,$(1))

PB_C := $(PROTO_SRC:%.proto=$(GEN)/%.pb-c.c) $(WELL_KNOWN_SRC:%.proto=$(GEN)/%.pb-c.c) \
	$(TEST_PROTO_SRC:%.proto=$(GEN)/%.pb-c.c)
PB_H := $(PB_C:.c=.h)
PB_O := $(PB_C:$(GEN)/%.c=$(OBJ)/gen/%.o)
FDS  := $(GEN)/builtin.fds
PROTO_PATH := -Iproto -I. -I/usr/include
PROTO_FILES := $(PROTO_SRC:%=proto/%) $(TEST_PROTO_SRC)

# Whatever changes how objects are made rebuilds them.
STAMP := $(O)/flags
STAMP_TEXT := $(CC) $(ALL_CFLAGS) $(WARN) $(CPPFLAGS) $(ALL_LDFLAGS) $(LDLIBS)
ifneq ($(file <$(STAMP)),$(STAMP_TEXT))
$(shell mkdir -p $(O))
$(file >$(STAMP),$(STAMP_TEXT))
endif

.PHONY: all
all: ## build every program
all: $(PROGRAMS)

.PHONY: $(DAEMONS) collectorctl
$(DAEMONS): %: $(BIN)/collector-%
collectorctl: $(BIN)/collectorctl

# Named before the first compile, so that a missing library is not a page of errors.
DEPS := $(O)/deps
$(DEPS): $(wildcard deploy/install-deps.sh)
	@mkdir -p $(@D)
	$(Q)test ! -e deploy/install-deps.sh || ./deploy/install-deps.sh --check
	@touch $@

$(GEN)/pb.stamp: $(PROTO_FILES) Makefile | $(DEPS)
	@mkdir -p $(GEN)
	$(say) PROTOC 'proto -> $(GEN)'
	$(Q)$(PROTOC) $(PROTO_PATH) --c_out=$(GEN) $(PROTO_SRC:%=proto/%) $(WELL_KNOWN_SRC:%=/usr/include/%)
	$(Q)$(PROTOC) $(PROTO_PATH) --c_out=$(GEN) $(TEST_PROTO_SRC)
	@touch $@
$(PB_C) $(PB_H): $(GEN)/pb.stamp ;

$(FDS): $(PROTO_FILES) Makefile | $(DEPS)
	@mkdir -p $(@D)
	$(say) PROTOC $@
	$(Q)$(PROTOC) $(PROTO_PATH) --include_imports --include_source_info \
		--descriptor_set_out=$@ $(PROTO_SRC:%=proto/%) \
		$(WELL_KNOWN_SRC:%=/usr/include/%) $(DESCRIBED_SRC:%=/usr/include/%)

$(OBJ)/gen/%.o: $(GEN)/pb.stamp $(STAMP)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(CPPFLAGS) -I$(GEN) -w -c -o $@ $(GEN)/$*.c

$(OBJ)/%.o: %.c $(STAMP) | $(GEN)/pb.stamp
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(ALL_CFLAGS) $(WARN) $(CPPFLAGS) -include common/base/banned.h -MD -MP -c -o $@ $<

# libprotobuf's C++, which some tests are held against.
TYPES_H   := $(TYPES_PROTO_SRC:%.proto=$(GEN)/%.pb.h)
TYPES_O   := $(TYPES_PROTO_SRC:%.proto=$(OBJ)/gen/%.pb.o)
TYPES_FDS := $(GEN)/types.fds
CXXFLAGS  ?=
ALL_CXXFLAGS := -std=c++17 $(OPT) $(SAN) -pthread $(CXXFLAGS)
CPP_ORACLE := $(OBJ)/tests/support/protobuf_cpp.o $(TYPES_O)

$(GEN)/types.stamp: $(TYPES_PROTO_SRC:%=tests/support/%) Makefile | $(DEPS)
	@mkdir -p $(GEN)
	$(say) PROTOC 'tests/support/types -> $(GEN)'
	$(Q)$(PROTOC) -Itests/support -I/usr/include --cpp_out=$(GEN) --include_imports \
		--include_source_info --descriptor_set_out=$(TYPES_FDS) $(TYPES_PROTO_SRC)
	@touch $@
$(TYPES_H) $(TYPES_FDS): $(GEN)/types.stamp ;

$(TYPES_O): $(OBJ)/gen/%.pb.o: $(GEN)/types.stamp $(STAMP)
	@mkdir -p $(@D)
	$(Q)$(CXX) $(ALL_CXXFLAGS) -I$(GEN) -w -c -o $@ $(GEN)/$*.pb.cc

$(OBJ)/%.o: %.cc $(STAMP) | $(GEN)/types.stamp
	@mkdir -p $(@D)
	$(say) CXX $<
	$(Q)$(CXX) $(ALL_CXXFLAGS) -Wall -Wextra -I. -isystem $(GEN) -MD -MP -c -o $@ $<

# The descriptors of all our own protos, in the binary (.incbin).
$(OBJ)/common/reflect/builtin.o: $(FDS)
$(OBJ)/common/reflect/builtin.o: CPPFLAGS += -DBUILTIN_FDS='"$(FDS)"'

$(OBJ)/tests/support/types.o: $(TYPES_FDS)
$(OBJ)/tests/support/types.o: CPPFLAGS += -DTYPES_FDS='"$(TYPES_FDS)"'

define module_rules
$(LIB)/lib$(1).a: $(call obj,$($(1)_SRC)) $(STAMP) Makefile
	@mkdir -p $$(@D)
	$(Q)rm -f $$@
	$(Q)$(AR) rcs $$@ $(call obj,$($(1)_SRC))
endef
$(foreach m,$(MODULES),$(eval $(call module_rules,$(m))))

$(LIB)/libpb.a: $(PB_O)
	@mkdir -p $(@D)
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $^

# From the top layer down.
COMMON_LIBS := $(addprefix $(LIB)/lib,$(addsuffix .a,client daemon rpc store reflect pb base))

link = $(say) LINK $@; mkdir -p $(@D) && \
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDLIBS)

$(BIN)/collector-%: $(OBJ)/services/%/main.o $(LIB)/lib%.a $(COMMON_LIBS)
	$(link)

$(BIN)/collectorctl: $(OBJ)/services/console/ctl/main.o $(LIB)/libctl.a $(COMMON_LIBS)
	$(link)

# A test of services/<area> may use that service's objects; archives give what is needed.
TEST_BIN := $(UNIT_TESTS:tests/unit/%.c=$(BIN)/unit/%)
$(BIN)/unit/%: $(OBJ)/tests/unit/%.o $(LIB)/libsupport.a $(DAEMONS:%=$(LIB)/lib%.a) $(LIB)/libctl.a $(COMMON_LIBS)
	@mkdir -p $(@D)
	$(say) LINK $@
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(OBJ)/tests/unit/$*.o $(LIB)/libsupport.a \
		$(patsubst %,$(LIB)/lib%.a,$(filter $(DAEMONS) ctl,$(subst /, ,$*))) \
		-Wl,--start-group $(COMMON_LIBS) -Wl,--end-group -lcheck -lsubunit $(LDLIBS)

TEST_PROGRAM_BIN := $(TEST_PROGRAMS:%.c=$(BIN)/%)
$(TEST_PROGRAM_BIN): $(BIN)/%: $(OBJ)/%.o $(COMMON_LIBS)
	$(link)
$(BIN)/tests/bench/reflect: $(OBJ)/tests/support/types.o $(CPP_ORACLE)
$(BIN)/tests/bench/reflect: LDLIBS += -lprotobuf -lstdc++
$(BIN)/tests/bench/raw_sqlite: $(OBJ)/services/repo/text_store.o $(OBJ)/services/repo/labels_store.o
$(BIN)/tests/bench/streams: $(OBJ)/tests/support/echo_service.o
$(BIN)/tests/schema/messages: $(OBJ)/tests/support/random_message.o $(OBJ)/tests/support/types.o

# gRPC of others, at both ends: grpc-go as Debian packages it, where that is new enough
# (1.34: see deploy/install-deps.sh). Never instrumented.
GO ?= $(firstword $(wildcard /usr/lib/go-*/bin/go) go)
GRPC_GO     := /usr/share/gocode/src/google.golang.org/grpc
INTEROP     := $(BUILD)/interop
INTEROP_BIN := $(if $(wildcard $(GRPC_GO)/interop/grpc_testing/test_grpc.pb.go),$(INTEROP))
INTEROP_SRC := \
	tests/interop/cases.go \
	tests/interop/main.go \
	tests/interop/server.go
$(INTEROP): $(INTEROP_SRC) | $(DEPS)
	@mkdir -p $(@D)
	$(say) GO tests/interop
	$(Q)GO111MODULE=off GOFLAGS= GOPATH=/usr/share/gocode GOCACHE=$(abspath $(BUILD))/go-cache \
		$(GO) build -o $@ ./tests/interop

MASK_RANDOM := $(BIN)/tests/mask/random
$(MASK_RANDOM): $(OBJ)/tests/mask/random.o $(OBJ)/tests/support/random_message.o \
		$(OBJ)/tests/support/types.o $(CPP_ORACLE) \
		$(LIB)/libreflect.a $(LIB)/libpb.a $(LIB)/libbase.a
	@mkdir -p $(@D)
	$(say) LINK $@
	$(Q)$(CXX) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) \
		-Wl,--start-group $(filter %.a,$^) -Wl,--end-group -lprotobuf $(LDLIBS)

# Pools alone, so that little is to be instrumented.
POOL_THREADS := $(BIN)/tests/thread/pool_threads
$(POOL_THREADS): $(OBJ)/tests/unit/reflect/test_pool_threads.o $(OBJ)/tests/support/suite.o \
		$(LIB)/libreflect.a $(LIB)/libpb.a $(LIB)/libbase.a
	@mkdir -p $(@D)
	$(say) LINK $@
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) \
		-Wl,--start-group $(filter %.a,$^) -Wl,--end-group -lcheck -lsubunit $(LDLIBS)

# An oracle, none of our code: C++ and never instrumented.
LIBPROTOBUF := $(BIN)/tests/link/libprotobuf
$(LIBPROTOBUF): tests/link/libprotobuf.cc | $(DEPS)
	@mkdir -p $(@D)
	$(say) CXX $<
	$(Q)$(CXX) -std=c++17 -O1 -Wall -Wextra -o $@ $< -lprotobuf -pthread

# libFuzzer, or what replays files.
ifeq ($(SANITIZE),fuzzer)
FUZZ_MAIN := -fsanitize=fuzzer
else
FUZZ_MAIN := $(OBJ)/tests/fuzz/replay.o
endif
FUZZ_LIBS := $(addprefix $(LIB)/lib,$(addsuffix .a,reflect pb base))
FUZZ_BIN  := $(FUZZ_TARGETS:%=$(BIN)/tests/fuzz/%)
$(BIN)/tests/fuzz/differential: $(CPP_ORACLE)
$(BIN)/tests/fuzz/differential: LDLIBS += -lprotobuf
$(FUZZ_BIN): $(BIN)/tests/fuzz/%: $(OBJ)/tests/fuzz/%.o $(OBJ)/tests/fuzz/fuzz.o \
		$(OBJ)/tests/support/types.o \
		$(OBJ)/tests/fuzz/replay.o $(FUZZ_LIBS)
	@mkdir -p $(@D)
	$(say) LINK $@
	$(Q)$(CXX) $(ALL_LDFLAGS) -o $@ $(filter-out %/replay.o,$(filter %.o,$^)) $(FUZZ_MAIN) \
		-Wl,--start-group $(FUZZ_LIBS) -Wl,--end-group $(LDLIBS)

# The repo's objects with their system calls recorded: tests/crash/intercept.c.
CRASH_CALLS := open openat write pwrite ftruncate fsync fdatasync rename renameat mkdir mkdirat \
	unlink unlinkat rmdir
CRASH_BIN := $(BIN)/tests/crash/repo
$(CRASH_BIN): ALL_LDFLAGS += $(CRASH_CALLS:%=-Wl,--wrap=%)
$(CRASH_BIN): $(call obj,$(CRASH_SRC)) $(LIB)/librepo.a $(COMMON_LIBS)
	$(link)

-include $(patsubst %.o,%.d,$(call obj,$(OUR_SRC)) $(CPP_ORACLE))

# ---------------------------------------------------------- Python stubs

PY := $(O)/py
$(PY)/stamp: $(PROTO_FILES) Makefile | $(DEPS)
	@mkdir -p $(PY)
	$(say) PROTOC '$(PY)'
	$(Q)$(PROTOC) $(PROTO_PATH) --python_out=$(PY) --grpc_out=$(PY) \
		--plugin=protoc-gen-grpc=$$(command -v grpc_python_plugin) \
		$(PROTO_SRC:%=proto/%) $(TEST_PROTO_SRC)
	@touch $@

# ---------------------------------------------------------------- targets

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@sed -n 's/^#   /  /p' $(firstword $(MAKEFILE_LIST))

.PHONY: run
run: ## start the five daemons (DATA=./data PORT_BASE=50050), stop them with Ctrl-C
run: all
	@BIN=$(abspath $(BIN)) DATA=$(or $(DATA),./data) PORT_BASE=$(or $(PORT_BASE),50050) exec ./deploy/run.sh

.PHONY: test test-unit test-crash test-crash-all test-fsync-mutations test-link test-compat \
	test-schema test-fuzz test-daemon test-docs
test: ## unit tests, crashes, oracles (protoc, buf, ajv), fuzzing's inputs, end-to-end tests, README
test: test-unit test-crash test-link test-mask test-compat test-schema test-fuzz \
	test-daemon test-docs

export COLLECTOR_BIN_DIR = $(abspath $(BIN))
export LSAN_OPTIONS = suppressions=$(abspath tests/support/lsan.supp):print_suppressions=0
export COLLECTOR_PY_DIR = $(abspath $(PY))
export COLLECTOR_BUILD_DIR = $(abspath $(BUILD))
export COLLECTOR_INTEROP = $(abspath $(INTEROP))

.PHONY: test-programs
test-programs: ## build what the tests run, and run nothing
test-programs: all $(TEST_BIN) $(TEST_PROGRAM_BIN) $(FUZZ_BIN) $(CRASH_BIN) $(INTEROP_BIN) $(LIBPROTOBUF) $(MASK_RANDOM) $(PY)/stamp

test-unit: ## the Check unit tests (T=name runs one)
test-unit: $(TEST_BIN)
	$(Q)tests/unit/run.sh $(BIN)/unit $(or $(T),$(UNIT_TESTS:tests/unit/%.c=%))

test-crash: ## every crash of the repo's writing: what was acknowledged is there afterwards
test-crash: $(CRASH_BIN)
	$(Q)$(CRASH_BIN)

test-crash-all: ## the same, and a kill between any two writes of SQLite (minutes)
test-crash-all: $(CRASH_BIN)
	$(Q)$(CRASH_BIN) --all

test-fsync-mutations: ## each sync of the repo taken away in turn: test-crash must fail
test-fsync-mutations: $(CRASH_BIN)
	$(Q)$(CRASH_BIN) --mutations

test-compat: ## what breaks between versions of files, with buf as the oracle (T=name runs one case)
test-compat: $(BIN)/tests/compat/findings
	$(Q)PYTHON=$(PYTHON) tests/compat/run.sh $(O) $(T)

test-link: ## which descriptors are taken, with protoc as the oracle (T=name runs one case)
test-link: $(BIN)/tests/link/linker $(LIBPROTOBUF)
	$(Q)$(PYTHON) tests/link/run.py $^ $(T)

.PHONY: test-mask
test-mask: ## random messages merged and pruned by random masks, with libprotobuf as the oracle
test-mask: $(MASK_RANDOM)
	$(Q)$< 200 1

.PHONY: test-thread
test-thread: ## pools read by many threads while one changes them, under ThreadSanitizer
ifeq ($(SANITIZE),thread)
test-thread: $(POOL_THREADS)
	$(Q)TSAN_OPTIONS=halt_on_error=1 tests/unit/run.sh $(<D) $(<F)
else
test-thread:
	$(Q)$(MAKE) --no-print-directory SANITIZE=thread $@
endif

test-daemon: ## real daemons, driven over gRPC from Python (T=name runs one)
test-daemon: all $(PY)/stamp $(TEST_PROGRAM_BIN) $(INTEROP_BIN)
	$(Q)COLLECTOR_NODE_MODULES=$$(tests/support/grpc_js.sh $(BUILD)) \
		$(PYTHON) tests/daemon/run.py $(T)

.PHONY: test-corpus
test-corpus: ## 7,200 .proto files of Google's, of which test-daemon takes some
test-corpus: all $(PY)/stamp
	$(Q)COLLECTOR_CORPUS=whole $(PYTHON) tests/daemon/run.py corpus

.PHONY: test-model
test-model: ## random operations on a collection against a model: 50,000 (MODEL_SEED, MODEL_STEPS)
test-model: export MODEL_STEPS := $(or $(MODEL_STEPS),50000)
test-model: export COLLECTOR_FILE_TIMEOUT_S := 7200
test-model: all $(PY)/stamp
	$(Q)$(PYTHON) tests/daemon/run.py repo_model

.PHONY: test-history
test-history: ## a thousand calls a second, all of them in the history (HISTORY_SECONDS=20)
test-history: export HISTORY_SECONDS := $(or $(HISTORY_SECONDS),20)
test-history: all $(PY)/stamp $(TEST_PROGRAM_BIN)
	$(Q)$(PYTHON) tests/daemon/run.py history:a_second

.PHONY: test-mesh
test-mesh: ## five collectors on machines of their own: cut off, killed, moved, slowed (MESH_ROUNDS=10)
test-mesh: export MESH_ROUNDS := $(or $(MESH_ROUNDS),10)
test-mesh: all $(PY)/stamp
	$(Q)$(PYTHON) tests/daemon/run.py mesh_network mesh_many

test-docs: ## README's commands, run as written, their output compared
test-docs: all $(PY)/stamp
	$(Q)$(PYTHON) tests/docs/run.py README.md

test-schema: ## JSON Schemas of messages, with ajv as the oracle
test-schema: $(BIN)/tests/schema/messages
	$(Q)tests/schema/run.sh $(O) $(BIN)/tests/schema/messages

test-fuzz: ## what fuzzing found and started from, once more (T=target)
test-fuzz: $(FUZZ_BIN)
	$(Q)tests/fuzz/replay.sh $(BIN)/tests/fuzz $(or $(T),$(FUZZ_TARGETS))

.PHONY: fuzz fuzz-programs
fuzz-programs: $(FUZZ_BIN)
fuzz: ## any bytes to what reads outside bytes, each target for TIME=60 seconds (T=target)
	$(Q)$(MAKE) --no-print-directory SANITIZE=fuzzer CC='$(FUZZ_CC)' CXX='$(FUZZ_CXX)' fuzz-programs
	$(Q)TIME=$(or $(TIME),60) tests/fuzz/fuzz.sh $(BUILD)/fuzzer $(or $(T),$(FUZZ_TARGETS))

.PHONY: conformance
conformance: ## Google's protobuf conformance tests, binary and JSON
conformance: $(BIN)/tests/conformance/testee
	$(Q)tests/conformance/run.sh $(O)

.PHONY: bench bench-mesh bench-pool bench-reflect bench-registry
bench: ## calls, proxy hop, Create, Get, Search as ratios to bare gRPC and raw SQLite
bench: all $(TEST_PROGRAM_BIN) $(PY)/stamp
	$(Q)$(PYTHON) tests/bench/run.py

bench-pool: ## a pool of 10,000 files and 50,000 messages: load, extend, replace, look up
bench-pool: $(BIN)/tests/bench/pool_bench
	$(Q)$<

bench-reflect: ## validate, JSON, JSONB, masks as ratios to libprotobuf's C++ and SQLite
bench-reflect: $(BIN)/tests/bench/reflect
	$(Q)$(BIN)/tests/bench/reflect

bench-mesh: ## hops, Dispatch, attached handlers and the history as ratios to a direct call
bench-mesh: all $(TEST_PROGRAM_BIN) $(PY)/stamp
	$(Q)$(PYTHON) tests/bench/mesh.py

.PHONY: bench-repo
bench-repo: ## Create, Batch, Get, Update, List, Search in up to 1,000,000 records, against echo and SQLite
bench-repo: all $(TEST_PROGRAM_BIN) $(PY)/stamp
	$(Q)$(PYTHON) tests/bench/repo.py

.PHONY: bench-collections
bench-collections: ## 10,000 collections: made, opened at random, their descriptors and memory
bench-collections: all $(PY)/stamp
	$(Q)$(PYTHON) tests/bench/many_collections.py

bench-registry: ## 10,000 files: start, Register with its syncs, lookups and pages as ratios to echo
bench-registry: all $(TEST_PROGRAM_BIN) $(PY)/stamp
	$(Q)$(PYTHON) tests/bench/registry.py

.PHONY: bench-follow
bench-follow: ## how soon what is registered is usable in the other daemons
bench-follow: all $(PY)/stamp
	$(Q)$(PYTHON) tests/bench/follow.py

.PHONY: bench-vector
bench-vector: ## the nearest of 100,000 vectors as a ratio to a scan of the same bytes in memory
bench-vector: all $(TEST_PROGRAM_BIN) $(PY)/stamp
	$(Q)$(PYTHON) tests/bench/vector.py

.PHONY: lint check-headers format
lint: ## layers, headers, format, static analysis, protos
lint: check-headers compile_commands.json
	$(Q)tests/lint/layers.sh
	$(Q)tests/lint/format.sh
	$(Q)tests/lint/size.sh
	$(Q)tests/lint/tidy.sh $(O)
	$(Q)tests/lint/proto.sh $(O)

HEADERS := $(shell git ls-files '*.h' 2>/dev/null)
check-headers: ## every header compiles alone
check-headers: $(GEN)/pb.stamp
	$(Q)for h in $(HEADERS); do \
		$(CC) -std=c11 $(WARN) -Werror $(CPPFLAGS) -fsyntax-only -x c -include $$h /dev/null || exit 1; \
	done; echo "headers: $(words $(HEADERS)) compile alone"

format: ## apply .clang-format, and gofmt
	$(Q)git ls-files '*.c' '*.h' | xargs clang-format -i
	$(Q)git ls-files '*.go' | xargs $(GO)fmt -w

# Tools built on clang read it: what only gcc knows is left out.
compile_commands.json: export COMPILE = $(CC) $(ALL_CFLAGS) \
	$(filter-out -Wno-format-truncation -Werror,$(WARN)) $(CPPFLAGS) \
	-DBUILTIN_FDS='"$(FDS)"' -DTYPES_FDS='"$(TYPES_FDS)"' -include common/base/banned.h
compile_commands.json: Makefile $(STAMP)
	$(Q)$(PYTHON) tests/lint/compile_commands.py $(OUR_SRC) >$@

.PHONY: install
install: ## install programs and the supervisor's configuration under DESTDIR/prefix
install: all
	install -d $(DESTDIR)$(bindir) $(DESTDIR)$(prefix)/share/collector
	install -m 755 $(PROGRAMS) $(DESTDIR)$(bindir)
	install -m 644 deploy/supervisord.conf $(DESTDIR)$(prefix)/share/collector

.PHONY: clean
clean: ## remove everything that was built
	rm -rf $(BUILD) compile_commands.json

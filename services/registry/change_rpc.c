/* Unregister, GetPolicy, SetPolicy. */
#include "common/base/names.h"
#include "common/rpc/call.h"
#include "services/registry/catalog.h"
#include "services/registry/rpc_shared.h"

static void unregister(Collector__CollectorRegistry_Service *service,
		       const Collector__UnregisterRequest *request,
		       Collector__UnregisterResponse_Closure reply_to, void *call)
{
	Collector__UnregisterResponse reply = COLLECTOR__UNREGISTER_RESPONSE__INIT;
	const struct registrar_removal removal = {
		.ns = names_namespace_or_default(request->namespace_),
		.file_name = request->file_name,
		.flags = (request->validate_only ? REGISTRAR_VALIDATE_ONLY : 0u) |
			 (request->force ? REGISTRAR_FORCE : 0u),
		.deadline_ns = rpc_deadline_ns(call)};
	struct breakages users;
	struct error err;
	enum status status = registry_rpc_check_writer(request->namespace_, call, &err);

	breakages_init(&users, rpc_arena(call));
	if (status == STATUS_OK)
		status = names_check_path(request->file_name, "file_name", &err);
	if (status == STATUS_OK)
		status = registrar_unregister(registry_rpc_registrar(service), &removal,
					      rpc_arena(call), &users, &reply.namespace_version,
					      &err);
	if (status != STATUS_OK) {
		registry_rpc_refuse(call, &err, &users);
		return;
	}
	if (!request->validate_only)
		registry_rpc_log_forced("unregistered", removal.ns, &users);
	reply.status = registry_rpc_ok(rpc_arena(call));
	reply.users = registry_rpc_breakages(&users, &reply.n_users);
	reply_to(&reply, call);
}

static void get_policy(Collector__CollectorRegistry_Service *service,
		       const Collector__GetPolicyRequest *request,
		       Collector__GetPolicyResponse_Closure reply_to, void *call)
{
	const char *ns = names_namespace_or_default(request->namespace_);
	Collector__GetPolicyResponse reply = COLLECTOR__GET_POLICY_RESPONSE__INIT;
	struct snapshot *snapshot;
	struct error err;

	if (names_check_namespace(request->namespace_, "namespace", &err) != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	snapshot = catalog_snapshot(registry_rpc_catalog(service), ns);
	reply.status = registry_rpc_ok(rpc_arena(call));
	reply.policy = (Collector__CompatibilityPolicy)snapshot->policy;
	snapshot_unref(snapshot);
	reply_to(&reply, call);
}

static enum status policy_of(const Collector__SetPolicyRequest *request,
			     enum policy *ret_policy, struct error *err)
{
	if (request->policy <
		    COLLECTOR__COMPATIBILITY_POLICY__COMPATIBILITY_POLICY_UNSPECIFIED ||
	    request->policy > COLLECTOR__COMPATIBILITY_POLICY__COMPATIBILITY_POLICY_SOURCE)
		return error_field(err, "policy", "there is no policy %d", request->policy);
	*ret_policy = request->policy ? (enum policy)request->policy : POLICY_DEFAULT;
	return STATUS_OK;
}

static void set_policy(Collector__CollectorRegistry_Service *service,
		       const Collector__SetPolicyRequest *request,
		       Collector__SetPolicyResponse_Closure reply_to, void *call)
{
	const char *ns = names_namespace_or_default(request->namespace_);
	Collector__SetPolicyResponse reply = COLLECTOR__SET_POLICY_RESPONSE__INIT;
	enum policy policy = POLICY_DEFAULT;
	struct error err;
	enum status status = registry_rpc_check_writer(request->namespace_, call, &err);

	if (status == STATUS_OK)
		status = policy_of(request, &policy, &err);
	if (status == STATUS_OK)
		status = registrar_set_policy(registry_rpc_registrar(service), ns, policy,
					      rpc_deadline_ns(call), &err);
	if (status != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	reply.status = registry_rpc_ok(rpc_arena(call));
	reply.policy = (Collector__CompatibilityPolicy)policy;
	reply_to(&reply, call);
}

void registry_rpc_set_change_methods(struct registry_rpc *r)
{
	r->service.unregister = unregister;
	r->service.get_policy = get_policy;
	r->service.set_policy = set_policy;
}

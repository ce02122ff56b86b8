#!/bin/bash
#
# Holds every #include of the tree to the layers of ARCHITECTURE.md: arrows point
# down only, services do not know each other, and each foreign library is touched
# by its own layer alone.
set -euo pipefail
cd "$(dirname "$0")/../.."

git ls-files -co --exclude-standard '*.c' '*.h' | xargs grep -HnE '^[[:space:]]*#[[:space:]]*include' |
	awk -F: '
# A layer may include itself and what is listed.
BEGIN {
	may["base"] = ""
	may["store"] = "base"
	may["reflect"] = "base"
	may["rpc"] = "reflect base"
	may["daemon"] = "rpc reflect base"
	may["client"] = "rpc reflect base"
	may["service"] = "client daemon rpc reflect store base"
}

function complain(why) {
	printf "%s:%s: %s: %s\n", file, line, text, why
	bad++
}

# "common/rpc/x.c" -> rpc, "services/repo/x.c" -> service, tests -> tests
function layer_of(path, part) {
	split(path, part, "/")
	if (part[1] == "common")
		return part[2]
	return part[1] == "services" ? "service" : part[1]
}

function service_of(path, part) {
	split(path, part, "/")
	return part[1] == "services" ? part[2] : ""
}

{
	file = $1; line = $2; text = $0
	sub(/^[^:]*:[^:]*:/, "", text)
	checked++
	if (!match(text, /[<"][^>"]*[>"]/)) {
		complain("not understood")
		next
	}
	header = substr(text, RSTART + 1, RLENGTH - 2)
	quoted = substr(text, RSTART, 1) == "\""
	from = layer_of(file)

	generated = header ~ /\.pb-c\.h$/
	if (header ~ /^grpc\// && !generated && from != "rpc" && file !~ /^tests\/(bench|support)\//)
		complain("<grpc/...> only in common/rpc, tests/bench and tests/support")
	if (header == "sqlite3.h" && from != "store" && from != "tests" && file !~ /^services\/[^\/]*\/[^\/]*_store\.c$/)
		complain("<sqlite3.h> only in common/store, services/*/*_store.c and tests")
	if (header ~ /^(common\/store\/|services\/[^\/]*\/(store_internal|[^\/]*_store)\.h)/ && from == "service" &&
	    file !~ /^services\/[^\/]*\/([^\/]*_store\.[ch]|store_internal\.h)$/)
		complain("what is below the seam only in services/*/*_store.[ch]")
	if (header == "jansson.h" && from != "daemon" && from != "tests" && file !~ /^services\/(console\/|worker\/template)/)
		complain("<jansson.h> only in common/daemon, services/console and services/worker/template.c")
	if (header ~ /^event2\// && from != "daemon" && from != "tests" && file !~ /^services\/console\//)
		complain("<event2/...> only in common/daemon and services/console")
	if (from == "base" && (generated || header ~ /^(protobuf-c|google|grpc|collector)\//))
		complain("common/base knows libc alone")
	if (header ~ /^\.\.?\//)
		complain("include by the path from the root")
	if (quoted && header !~ /\// )
		complain("include by the path from the root")

	to = layer_of(header)
	if (header !~ /^(common|services|tests)\// || from == "tests")
		next
	if (!(from in may)) {
		complain("in no known layer")
		next
	}
	if (to == "tests")
		complain("tests are not for the programs")
	else if (to == "service") {
		if (from != "service")
			complain("common/ knows no service")
		else if (service_of(header) != service_of(file))
			complain("a service includes no other service")
	} else if (to != from && index(" " may[from] " ", " " to " ") == 0)
		complain("common/" from " may not include common/" to)
}

END {
	if (!checked) {
		print "layers: no include was found"
		exit 1
	}
	if (bad)
		exit 1
	printf "layers: %d includes point down\n", checked
}'

# A statement in a string, wherever it is not below the seam.
statement='"[^"]*\b(SELECT |INSERT (OR [A-Z]+ )?INTO |DELETE FROM |UPDATE [a-z_]+ SET |'
statement+='CREATE (UNIQUE )?(TABLE|INDEX|VIEW|VIRTUAL)|DROP (TABLE|INDEX|VIEW)|ALTER TABLE|PRAGMA )'
if git ls-files -co --exclude-standard 'services/*.[ch]' 'common/*.[ch]' |
	grep -vE '^common/store/|_store\.[ch]$' | xargs grep -nE "$statement"; then
	echo "layers: SQL is for common/store and services/*/*_store.c"
	exit 1
fi
echo "layers: no SQL above the seam"

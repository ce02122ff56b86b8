#include "common/reflect/schema_types.h"

#include <stddef.h>

#include "common/reflect/descriptor.h"

/* Patterns are ECMA-262, and mean the same to Python and to PCRE. */
#define PATTERN_INT64  "^-?(0|[1-9][0-9]{0,18})$"
#define PATTERN_UINT64 "^(0|[1-9][0-9]{0,19})$"
#define PATTERN_BYTES  "^[A-Za-z0-9+/_-]*={0,2}$"

const char *schema_of_scalar(uint8_t type)
{
	switch ((enum pool_type)type) {
	case POOL_TYPE_DOUBLE:
		return "\"anyOf\":[{\"type\":\"number\"},"
		       "{\"enum\":[\"NaN\",\"Infinity\",\"-Infinity\"]}]";
	case POOL_TYPE_FLOAT:
		/* What rounds to the largest float is one. */
		return "\"anyOf\":[{\"type\":\"number\",\"minimum\":-3.4028235677973362e38,"
		       "\"maximum\":3.4028235677973362e38},"
		       "{\"enum\":[\"NaN\",\"Infinity\",\"-Infinity\"]}]";
	case POOL_TYPE_INT32:
	case POOL_TYPE_SINT32:
	case POOL_TYPE_SFIXED32:
		return "\"type\":\"integer\",\"minimum\":-2147483648,\"maximum\":2147483647";
	case POOL_TYPE_UINT32:
	case POOL_TYPE_FIXED32:
		return "\"type\":\"integer\",\"minimum\":0,\"maximum\":4294967295";
	case POOL_TYPE_INT64:
	case POOL_TYPE_SINT64:
	case POOL_TYPE_SFIXED64:
		/* As reals: many readers of JSON know no integer beyond INT64_MAX. */
		return "\"anyOf\":[{\"type\":\"string\",\"pattern\":\"" PATTERN_INT64 "\"},"
		       "{\"type\":\"integer\",\"minimum\":-9.223372036854775808e18,"
		       "\"exclusiveMaximum\":9.223372036854775808e18}]";
	case POOL_TYPE_UINT64:
	case POOL_TYPE_FIXED64:
		return "\"anyOf\":[{\"type\":\"string\",\"pattern\":\"" PATTERN_UINT64 "\"},"
		       "{\"type\":\"integer\",\"minimum\":0,"
		       "\"exclusiveMaximum\":18.446744073709551616e18}]";
	case POOL_TYPE_BOOL:
		return "\"type\":\"boolean\"";
	case POOL_TYPE_STRING:
		return "\"type\":\"string\"";
	case POOL_TYPE_BYTES:
		return "\"type\":\"string\",\"contentEncoding\":\"base64\","
		       "\"pattern\":\"" PATTERN_BYTES "\"";
	case POOL_TYPE_ENUM:
	case POOL_TYPE_GROUP:
	case POOL_TYPE_MESSAGE:
		break;
	}
	return ""; /* no scalar */
}

const char *schema_of_key(uint8_t type)
{
	switch ((enum pool_type)type) {
	case POOL_TYPE_BOOL:
		return "\"propertyNames\":{\"enum\":[\"false\",\"true\"]},";
	case POOL_TYPE_INT32:
	case POOL_TYPE_SINT32:
	case POOL_TYPE_SFIXED32:
	case POOL_TYPE_INT64:
	case POOL_TYPE_SINT64:
	case POOL_TYPE_SFIXED64:
		return "\"propertyNames\":{\"pattern\":\"" PATTERN_INT64 "\"},";
	case POOL_TYPE_UINT32:
	case POOL_TYPE_FIXED32:
	case POOL_TYPE_UINT64:
	case POOL_TYPE_FIXED64:
		return "\"propertyNames\":{\"pattern\":\"" PATTERN_UINT64 "\"},";
	case POOL_TYPE_STRING:
	case POOL_TYPE_DOUBLE:
	case POOL_TYPE_FLOAT:
	case POOL_TYPE_BYTES:
	case POOL_TYPE_ENUM:
	case POOL_TYPE_GROUP:
	case POOL_TYPE_MESSAGE:
		break;
	}
	return "";
}

const char *schema_of_known(const struct pool_message *m)
{
	switch ((enum pool_well_known)m->well_known) {
	case POOL_WELL_KNOWN_NONE:
		break;
	case POOL_WELL_KNOWN_ANY:
		return "\"type\":\"object\",\"properties\":{\"@type\":{\"type\":\"string\","
		       "\"pattern\":\"/\"}},"
		       "\"anyOf\":[{\"required\":[\"@type\"]},{\"maxProperties\":0}]";
	case POOL_WELL_KNOWN_TIMESTAMP:
		return "\"type\":\"string\",\"format\":\"date-time\",\"pattern\":"
		       "\"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
		       "T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?"
		       "(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$\"";
	case POOL_WELL_KNOWN_DURATION:
		return "\"type\":\"string\",\"pattern\":\"^-?[0-9]{1,12}([.][0-9]{1,9})?s$\"";
	case POOL_WELL_KNOWN_FIELD_MASK:
		return "\"type\":\"string\",\"pattern\":\"^[^_]*$\"";
	case POOL_WELL_KNOWN_STRUCT:
		return "\"type\":\"object\"";
	case POOL_WELL_KNOWN_VALUE:
		return "";
	case POOL_WELL_KNOWN_LIST_VALUE:
		return "\"type\":\"array\"";
	case POOL_WELL_KNOWN_EMPTY:
		return "\"type\":\"object\",\"additionalProperties\":false";
	case POOL_WELL_KNOWN_WRAPPER:
		return schema_of_scalar(m->fields[0].type);
	}
	return NULL;
}

/*
 * common/reflect/schema.h against ajv, a validator of others (JSON Schema 2020-12):
 * run.js PROGRAM, which is messages.c.
 *
 * Of each type: the schema is one; the skeleton and what is printed of random
 * messages validate; of random changes to these, the schema takes none that the
 * reader refuses, and refuses none that is canonical.
 */
"use strict";
const { execFileSync } = require("child_process");
const Ajv = require("ajv/dist/2020");

const TYPES = [
  "types.v3.Tree", "types.v3.Scalars", "types.v3.Presence", "types.v3.Lists", "types.v3.Maps",
  "types.v3.WellKnown", "types.v3.Order", "types.v2.Closed", "types.v2.Required",
  "types.v2.Groups", "types.v2.Extended", "google.protobuf.FileDescriptorProto",
  "google.protobuf.Value", "google.protobuf.Timestamp", "collector.CreateRequest",
  "collector.RegisterFilesRequest",
];
const MESSAGES = 150;
const CHANGES = 8;

/* What the schema cannot know, or leaves to the reader, by the reader's words. */
const ONLY_THE_READER_KNOWS = [
  /out of range/,                       // of 64 bits, as text
  /not base64/,                         // lengths of it
  /not a time such as/,                 // 31 February
  /not a duration such as/,             // 10,000 years
  /the type .* is not known/,           // of an Any
  /an Any of .* has a "value"/,
  /has no field|a string is expected/,  // in an Any, whose type the schema does not know
  /is there twice/,
];

const [, , program] = process.argv;
let passed = 0;
let failed = 0;

function ask(args, input) {
  const out = execFileSync(program, args, { input, encoding: "utf8", maxBuffer: 1 << 28 });
  return out.split("\n").slice(0, -1);
}

function check(name, wrong) {
  if (!wrong) {
    passed++;
    return;
  }
  failed++;
  console.log(`FAIL ${name}: ${wrong}`);
}

/* A generator of numbers, the same in each run. */
let state = 1;
function below(n) {
  state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
  return (state >> 8) % n;
}

function places(value, out = []) {
  if (value && typeof value === "object") {
    for (const key of Object.keys(value)) {
      out.push([value, key]);
      places(value[key], out);
    }
  }
  return out;
}

const STRANGE = [
  null, true, false, 0, 1, -1, 1.5, 3e9, 5e9, 1e300, "", "x", "12", "-7", "1.5", "NaN", "RED",
  "NO_SUCH", [], {}, [1], ["x"], [null], { zz: 1 }, { "": "" }, "2026-02-03T04:05:06Z", "1s", "YQ==",
];

/* One thing is other than it was, or is there that was not. */
function changed(text) {
  const value = { root: JSON.parse(text) };
  const all = places(value);
  const [object, key] = all[below(all.length)];
  const what = STRANGE[below(STRANGE.length)];
  const into = object[key];
  const kind = below(4);

  if (kind === 0 && into && typeof into === "object" && !Array.isArray(into)) {
    into["unknown" + below(3)] = what;
  } else if (kind === 1 && all.length > 1) {
    const [, other] = all[1 + below(all.length - 1)];
    if (into && typeof into === "object" && !Array.isArray(into)) into[other] = what;
    else object[key] = what;
  } else if (kind === 2 && object !== value && !Array.isArray(object)) {
    delete object[key];
  } else {
    object[key] = what;
  }
  return JSON.stringify(value.root);
}

function same(a, b) {
  return JSON.stringify(sorted(JSON.parse(a))) === JSON.stringify(sorted(JSON.parse(b)));
}

function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (!value || typeof value !== "object") return value;
  return Object.fromEntries(Object.keys(value).sort().map((k) => [k, sorted(value[k])]));
}

function explain(validate, text) {
  return `${JSON.stringify(validate.errors.slice(-2))} of ${text.slice(0, 300)}`;
}

function checkValid(type, validate, what, lines) {
  const wrong = lines.find((line) => !validate(JSON.parse(line)));
  check(`${type} ${what}`, wrong && (validate(JSON.parse(wrong)), explain(validate, wrong)));
}

/* The reader leaves it to wire_validate() whether required fields are there. */
function isIncomplete(errors) {
  return errors.some((e) => e.keyword === "required" && !/oneOf/.test(e.schemaPath));
}

function checkChanges(type, validate, lines) {
  const texts = lines.flatMap((line) => Array.from({ length: CHANGES }, () => changed(line)));
  const answers = ask(["read", type], texts.join("\n") + "\n");
  let refused = 0;
  let wrong;

  texts.forEach((text, i) => {
    const valid = validate(JSON.parse(text));
    const taken = !answers[i].startsWith("!");
    refused += !valid;
    if (valid && !taken && !ONLY_THE_READER_KNOWS.some((r) => r.test(answers[i])))
      wrong ??= `the reader refuses ${text.slice(0, 300)}: ${answers[i]}`;
    else if (!valid && taken && !isIncomplete(validate.errors) && same(text, answers[i]))
      wrong ??= explain(validate, text);
  });
  check(`${type} changed`, wrong);
  if (type !== "google.protobuf.Value") // which is any JSON
    check(`${type} changes refused`, refused ? undefined : "none of them");
}

function checkType(type) {
  const schema = JSON.parse(ask(["schema", type])[0]);
  const ajv = new Ajv({ strict: true, strictTypes: false, strictRequired: false, validateFormats: false });
  let validate;

  try {
    validate = ajv.compile(schema);
  } catch (e) {
    check(`${type} schema`, e.message);
    return;
  }
  check(`${type} schema`);
  const skeleton = ask(["skeleton", type]);
  checkValid(type, validate, "skeleton", skeleton);
  check(`${type} skeleton is read`, ask(["read", type], skeleton[0] + "\n")
    .filter((line) => line.startsWith("!")).join());
  const lines = ask(["random", type, String(MESSAGES), "7"]);
  checkValid(type, validate, "random", lines);
  checkChanges(type, validate, lines);
}

TYPES.forEach(checkType);
console.log(`schema: ${passed} passed, ${failed} failed`);
process.exitCode = failed || !passed ? 1 : 0;

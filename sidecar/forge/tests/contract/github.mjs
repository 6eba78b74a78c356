// Holds recorded exchanges with a GitHub (JSON lines on stdin: method, path, query, body, status, answer) against what GitHub
// publishes: every path, method, parameter, request and answer against the OpenAPI description, every GraphQL document, its
// variables and its answer against the schema. An empty line ends a set: what differs is printed, a line each, and then the
// number of exchanges. Exits with 1 if anything differed or a set was empty.
//
// Usage: node github.mjs FOLDER < exchanges   (FOLDER has node_modules as package-lock.json here says)
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { join, resolve } from 'node:path';

const folder = resolve(process.argv[2] ?? '.');
const require = createRequire(join(folder, 'package.json'));
const read = (path) => readFileSync(join(folder, 'node_modules/@octokit', path), 'utf8');
const Ajv = require('ajv').default;
const addFormats = require('ajv-formats').default;
const { buildSchema, parse, validate, executeSync } = require('graphql');

const description = JSON.parse(read('openapi/generated/api.github.com.json'));
// Only when it is needed: building it takes longer than all else. The published text defines two fields twice.
let built;
const schema = () => (built ??= buildSchema(read('graphql-schema/schema.graphql'), { assumeValidSDL: true }));

const ajv = new Ajv({ strict: false, allErrors: true, coerceTypes: false, validateFormats: true });
addFormats(ajv);
ajv.addFormat('repo.nwo', true).addFormat('int64', true).addFormat('timestamp', true);

const added = new Set();

// OpenAPI 3.0 says `nullable: true` where JSON Schema says "or null".
function nullable(node) {
  if (Array.isArray(node)) return node.map(nullable);
  if (node === null || typeof node !== 'object') return node;
  const copy = {};
  for (const [key, value] of Object.entries(node)) {
    if (key === 'example' || key === 'examples' || key === 'nullable') continue;
    copy[key] = key === '$ref' ? named(value) : nullable(value);
  }
  return node.nullable === true ? { anyOf: [{ type: 'null' }, copy] } : copy;
}

// Each schema that another one names becomes one of its own, with those that it names in turn.
function named(reference) {
  if (!added.has(reference)) {
    added.add(reference);
    ajv.addSchema(nullable(resolved({ $ref: reference })), reference.replace(/^#/, 'github:'));
  }
  return reference.replace(/^#/, 'github:');
}

const compiled = new Map();
function differences(where, plain, value) {
  const key = JSON.stringify(plain);
  if (!compiled.has(key)) compiled.set(key, ajv.compile(nullable(plain)));
  const check = compiled.get(key);
  return check(value) ? [] : check.errors.map((error) => `${where}${error.instancePath} ${error.message} ${JSON.stringify(error.params)}`);
}

function resolved(node) {
  let at = node;
  while (at?.$ref) at = at.$ref.slice(2).split('/').reduce((part, key) => part[key], description);
  return at;
}

// The names that a schema has for the properties of an object, whichever of its alternatives is taken.
function properties(node) {
  const plain = resolved(node) ?? {};
  if (plain.additionalProperties) return null;
  const names = new Set(Object.keys(plain.properties ?? {}));
  for (const part of [...(plain.allOf ?? []), ...(plain.anyOf ?? []), ...(plain.oneOf ?? [])]) {
    for (const name of properties(part) ?? []) names.add(name);
  }
  return names;
}

function unknown(where, node, value) {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return [];
  const names = properties(node);
  return names === null ? [] : Object.keys(value).filter((name) => !names.has(name)).map((name) => `${where}: GitHub knows no property ${name}`);
}

const paths = Object.keys(description.paths).map((template) => ({
  template,
  pattern: new RegExp(`^${template.replace(/[.*+?^$()|[\]\\]/g, '\\$&').replace(/\{[^}]+\}/g, '[^/]+')}$`),
  literal: template.split('/').filter((part) => !part.startsWith('{')).length,
}));

function rest({ method, path, query, body, status, answer }) {
  const plain = path.replace(/^\/api\/v3/, '');
  const matching = paths.filter(({ pattern }) => pattern.test(plain)).sort((a, b) => b.literal - a.literal);
  const found = matching.find(({ template }) => description.paths[template][method.toLowerCase()]);
  if (!found) return [`GitHub has no ${method} ${plain}`];
  const item = description.paths[found.template];
  const operation = item[method.toLowerCase()];
  const problems = [];
  const known = [...(item.parameters ?? []), ...(operation.parameters ?? [])].map(resolved).filter((parameter) => parameter.in === 'query');
  for (const [name, text] of new URLSearchParams(query)) {
    const parameter = known.find((other) => other.name === name);
    if (!parameter) problems.push(`query: GitHub knows no parameter ${name}`);
    else problems.push(...differences(`query ${name}`, parameter.schema, resolved(parameter.schema).type === 'integer' ? Number(text) : text));
  }
  const wanted = resolved(operation.requestBody)?.content?.['application/json']?.schema;
  if (wanted && body !== null) problems.push(...differences('request', wanted, body), ...unknown('request', wanted, body));
  else if (wanted && operation.requestBody.required) problems.push('request: has no body');
  else if (body !== null) problems.push('request: GitHub takes no body');
  const response = resolved(operation.responses[status]);
  if (response) {
    const shape = response.content?.['application/json']?.schema;
    if (shape) problems.push(...differences('answer', shape, answer), ...unknown('answer', shape, answer));
  } else if (EVERYWHERE.includes(status)) {
    problems.push(...differences('answer', { $ref: '#/components/schemas/basic-error' }, answer));
  } else {
    problems.push(`GitHub never answers ${status} here`);
  }
  return problems;
}

// Not listed with each operation, but documented for all ("Troubleshooting the REST API", "Rate limits").
const EVERYWHERE = [301, 401, 403, 404, 429, 500, 502, 503];

function graphql({ body, status, answer }) {
  if (status !== 200) return EVERYWHERE.includes(status) ? [] : [`GraphQL never answers ${status}`];
  const document = parse(body.query);
  const problems = validate(schema(), document).map((error) => `document: ${error.message}`);
  if (problems.length > 0) return problems;
  const result = executeSync({ schema: schema(), document, variableValues: body.variables, rootValue: answer.data ?? {} });
  for (const error of result.errors ?? []) problems.push(`${error.path ? 'answer' : 'variables'}: ${error.message}`);
  if (JSON.stringify(result.data ?? null) !== JSON.stringify(answer.data ?? null) && problems.length === 0) {
    problems.push('answer: has other fields than the document asks for');
  }
  return problems;
}

function difference(exchange) {
  const isGraphql = exchange.path === '/graphql' || exchange.path === '/api/graphql';
  const problems = isGraphql ? graphql(exchange) : rest(exchange);
  return problems.map((problem) => `${exchange.method} ${exchange.path} ${exchange.status}: ${problem}\n`);
}

let [count, failed] = [0, false];
function end() {
  failed ||= count === 0;
  process.stdout.write(`${count} exchanges${count === 0 ? ': nothing to check' : ''}\n`);
  count = 0;
}
for await (const line of createInterface({ input: process.stdin })) {
  if (line === '') {
    end();
    continue;
  }
  count += 1;
  for (const text of difference(JSON.parse(line))) {
    failed = true;
    process.stdout.write(text);
  }
}
if (count > 0) end();
process.exitCode = failed ? 1 : 0;

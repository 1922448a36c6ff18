import { createSign, generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';

const KEY_ID = 'key-1';

/** The issuer of web identity tokens, as a Kubernetes API server is for its service accounts. */
export interface OpenIdProvider extends AsyncDisposable {
  /** URL of the discovery document. */
  readonly configUrl: string;
  /** Issues a token with these claims. It expires after an hour, unless `exp` is given. */
  issue(claims: Readonly<Record<string, unknown>>): string;
}

export async function startOpenIdProvider(): Promise<OpenIdProvider> {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 });
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid: KEY_ID, use: 'sig', alg: 'RS256' };
  let url = '';
  const server = http.createServer((request, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(request.url === '/keys' ? { keys: [jwk] } : discovery(url)));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  return {
    configUrl: `${url}/.well-known/openid-configuration`,
    issue(claims) {
      const nowSeconds = Math.floor(Date.now() / 1_000);
      const payload = { iss: url, iat: nowSeconds, exp: nowSeconds + 3_600, ...claims };
      const signed = [{ alg: 'RS256', typ: 'JWT', kid: KEY_ID }, payload].map(base64UrlJson).join('.');
      return `${signed}.${createSign('RSA-SHA256').update(signed).sign(privateKey, 'base64url')}`;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Source: OpenID Connect Discovery 1.0, section 3. */
function discovery(url: string): object {
  return {
    issuer: url,
    authorization_endpoint: `${url}/authorize`,
    token_endpoint: `${url}/token`,
    jwks_uri: `${url}/keys`,
    response_types_supported: ['id_token'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['RS256'],
  };
}

function base64UrlJson(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

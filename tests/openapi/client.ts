// What a TypeScript client may rely on, compiled with the types that are made of the document. Every line under
// `@ts-expect-error` has to be refused: one that compiles is an error.

import type { paths } from './api';

type Register = paths['/api/users/register']['post']['responses'];
type Login = paths['/api/users/login']['post']['responses'];
type Json<R extends { content: { 'application/json': unknown } }> = R['content']['application/json'];

export function narrows(reply: Json<Login[200]> | Json<Login[401]>): string {
  // @ts-expect-error: a refusal has no data
  reply.data;
  if (reply.success) return reply.data.token;
  // @ts-expect-error: nor has it any here
  reply.data;
  return reply.error.code;
}

export function knowsCodes(reply: Json<Register[409]> | Json<Register[422]> | Json<Register[400]>): boolean {
  const code = reply.error.code;
  // @ts-expect-error: a typo
  if (code === 'emial_taken') return false;
  // @ts-expect-error: a code of logins
  if (code === 'invalid_credentials') return false;
  return code === 'email_taken' || code === 'validation_failed' || code === 'malformed_json';
}

export function knowsProblems(problem: Login[401]['content']['application/problem+json']): 'invalid_credentials' {
  return problem.code;
}

// Starts `weir demo` in a fresh directory on a free port, waits for the demo, and takes everything down afterwards.
import { ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Running {
  url: string;
  dataDir: string;
  user: string;
  password: string;
  adminPassword: string;
  token: string;
  apps: Record<string, string>;
}

/** In which the demo must be ready, after compilation. */
const STARTUP_MS = 180_000;

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => (typeof address === 'object' && address ? resolve(address.port) : reject(new Error('no port'))));
    });
  });
}

/** Resolves with what the server printed once the demo is ready. */
function ready(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let output = '';
    const timer = setTimeout(() => reject(new Error(`the demo is not ready in time:\n${output}`)), STARTUP_MS);
    const read = (chunk: Buffer) => {
      output += chunk.toString();
      if (output.includes('Three things to click')) {
        clearTimeout(timer);
        resolve(output);
      }
    };
    child.stdout?.on('data', read);
    child.stderr?.on('data', read);
    child.on('exit', (code) => {
      clearTimeout(timer);
      reject(new Error(`weir demo ended with ${code}:\n${output}`));
    });
  });
}

export default async function start(): Promise<() => Promise<void>> {
  const binary = process.env.WEIR_BIN;
  if (!binary) throw new Error('WEIR_BIN must name the weir program; end2end/run sets it');
  const dataDir = mkdtempSync(join(tmpdir(), 'weir-end2end-'));
  const url = `http://127.0.0.1:${await freePort()}`;
  const listen = url.replace('http://', '');
  const adminPassword = randomBytes(12).toString('hex');
  const user = 'developer';
  const demo = () =>
    spawn(binary, ['demo', '--data-dir', dataDir, '--listen', listen, '--metrics-listen', 'none'], {
      env: { ...process.env, WEIR_LOG: process.env.WEIR_LOG ?? 'warn', WEIR_ADMIN_PASSWORD: adminPassword },
    });
  const once = demo();
  await ready(once);
  const token = execFileSync(binary, ['token', 'create', '--data-dir', dataDir, '--user', user], { encoding: 'utf8' }).trim();
  const made = await everything(url, token);
  await end(once);
  // Whoever runs it again, because it was stopped or out of habit, finds what there was.
  const child = demo();
  const output = await ready(child);
  const found = await everything(url, token);
  if (found !== made) throw new Error(`the second demo made something of the first one:\n${made}\n${found}`);
  const password = /Sign in as developer with the password (\S+)/.exec(output)?.[1];
  if (!password) throw new Error(`the demo names no sign-in:\n${output}`);
  const apps = Object.fromEntries([...output.matchAll(/(app-[ab]) at (http:\S+?)[,\s]/g)].map((match) => [match[1], match[2]]));
  const running: Running = { url, dataDir, user, password, adminPassword, token, apps };
  process.env.WEIR_E2E = JSON.stringify(running);
  writeFileSync(join(dataDir, 'end2end.json'), JSON.stringify(running));
  return () => stop(child, running);
}

async function end(child: ChildProcess): Promise<void> {
  child.removeAllListeners('exit');
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await ended;
}

/** What the demo has made: streams with where their tags point, build configs, builds and apps, as text. */
async function everything(url: string, token: string): Promise<string> {
  const headers = { authorization: `Bearer ${token}` };
  const list = async (path: string) => ((await (await fetch(`${url}/apis/${path}`, { headers })).json()) as any).items;
  const streams = await list('image.openshift.io/v1/namespaces/demo/imagestreams');
  const tags = streams.map((stream: any) => [
    stream.metadata.name,
    stream.status.tags.map((tag: any) => [tag.tag, tag.items.map((item: any) => item.image)]),
  ]);
  const configs = await list('build.openshift.io/v1/namespaces/demo/buildconfigs');
  const builds = await list('build.openshift.io/v1/namespaces/demo/builds');
  const apps = await list('apps/v1/namespaces/demo/deployments');
  const names = [configs, builds, apps].map((items) => items.map((item: any) => item.metadata.name));
  return JSON.stringify([tags, names]);
}

async function stop(child: ChildProcess, running: Running): Promise<void> {
  try {
    await removeApps(running);
  } finally {
    await end(child);
    rmSync(running.dataDir, { recursive: true, force: true });
  }
}

/** Deletes the apps, which makes the engine forget their containers, and waits until none answers. */
async function removeApps(running: Running): Promise<void> {
  const headers = { authorization: `Bearer ${running.token}` };
  for (const app of Object.keys(running.apps)) {
    const path = `${running.url}/apis/apps/v1/namespaces/demo/deployments/${app}`;
    const answer = await fetch(path, { method: 'DELETE', headers });
    if (!answer.ok) throw new Error(`${app} cannot be deleted: ${answer.status} ${await answer.text()}`);
  }
  const gone = async () => {
    const answers = await Promise.all(Object.values(running.apps).map((app) => fetch(app).then(() => true, () => false)));
    return answers.every((answered) => !answered);
  };
  for (let tries = 0; tries < 60 && !(await gone()); tries += 1) await new Promise((next) => setTimeout(next, 500));
}

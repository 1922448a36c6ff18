import type { Clock } from '../clock/clock.ts';
import { dnsLookup } from './dns-lookup.ts';
import { NameResolver } from './name-resolver.ts';
import { ResolverFiles } from './resolver-files.ts';
import type { Resolver } from './resolver.ts';
import { systemLookup } from './system-lookup.ts';

/** Only on Linux do `/etc/hosts` and `/etc/resolv.conf` describe how the system resolves names. */
export function createResolver(clock: Clock, platform: NodeJS.Platform): Resolver {
  const fallback = systemLookup({ clock });
  if (platform !== 'linux') return new NameResolver({ clock, lookup: fallback });
  const lookup = dnsLookup({ clock, files: new ResolverFiles(clock), systemLookup: fallback });
  return new NameResolver({ clock, lookup });
}

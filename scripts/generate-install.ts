/** Writes `deploy/install.yaml`. Needs Helm. `test/charts` fails if the file is out of date. */
import { writeFile } from 'node:fs/promises';

import { installManifests } from './install-manifests.ts';

await writeFile(new URL('../deploy/install.yaml', import.meta.url), await installManifests());

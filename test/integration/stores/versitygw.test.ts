import { createVersityGWUser, startVersityGW } from '../../../deploy/local/versitygw.ts';
import { SERVERS } from '../../../deploy/local/servers.ts';
import { whyMissing } from '../../../deploy/local/binary.ts';
import { testStore } from './matrix.ts';
import { REGION } from './store-under-test.ts';

testStore({
  title: SERVERS.versitygw.title,
  missing: await whyMissing('versitygw'),
  async start(dir) {
    const server = await startVersityGW({ dir, region: REGION, withUsers: true });
    const [user, userWithoutRights] = [
      await createVersityGWUser(server, 'userplus'),
      await createVersityGWUser(server, 'user'),
    ];
    return { ...server, user, userWithoutRights };
  },
});

import { createCephUser, startCeph, whyCephIsMissing } from '../../../deploy/local/ceph.ts';
import { testStore } from './matrix.ts';

testStore({
  title: 'Ceph RGW',
  missing: await whyCephIsMissing(),
  signsWithRegion: false,
  async start(dir) {
    const ceph = await startCeph({ dir });
    const user = await createCephUser(ceph);
    const userWithoutRights = await createCephUser(ceph, '--max-buckets=-1');
    return {
      ...ceph,
      // The name of the default zone group. Ceph accepts us-east-1, the probe's default, as well.
      region: 'default',
      // Like every user of Ceph, it sees only its own buckets.
      rootUser: user.accessKey,
      rootPassword: user.secretKey,
      user,
      userWithoutRights,
    };
  },
});

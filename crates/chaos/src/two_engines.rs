//! Two engines that go on with one run at the same moment: one of them drives, the other says so and ends.

use crate::{
    oracle::broken,
    play::{Ended, Live, RESUMABLE, TICK},
};

/// The exit code of an engine whose run another drives.
const REFUSED: i32 = 78;

impl Live<'_> {
    /// Everything was killed: two engines are started, and waited for until one of them has left the run to the other.
    pub(crate) async fn two_go_on(&mut self) -> Result<(), Ended> {
        let until = self.sys.clock.monotonic() + self.patience.engine;
        while self.engine.try_wait().map_err(Ended::Start)?.is_none() {
            if self.sys.clock.monotonic() > until {
                return Err(broken("I10 ends", "a killed engine does not end").into());
            }
            self.sys.clock.sleep(TICK).await;
        }
        self.go_on_with(&[])?;
        self.rival = Some(self.another(false, &[])?);
        let until = self.sys.clock.monotonic() + self.patience.engine;
        loop {
            let ours = self.engine.try_wait().map_err(Ended::Start)?;
            let theirs = match &mut self.rival {
                Some(rival) => rival.try_wait().map_err(Ended::Start)?,
                None => return Ok(()),
            };
            match (ours, theirs) {
                (Some(left), None) => {
                    let rival = self.rival.take();
                    self.rival = rival.map(|rival| std::mem::replace(&mut self.engine, rival));
                    return self.left(left);
                }
                (_, Some(left)) => return self.left(left),
                (None, None) if self.sys.clock.monotonic() > until => {
                    return Err(broken("I5 fence", "two engines drive one run").into());
                }
                (None, None) => self.sys.clock.sleep(TICK).await,
            }
        }
    }

    /// The rival has ended, and it was for it to end so.
    fn left(&mut self, status: std::process::ExitStatus) -> Result<(), Ended> {
        self.rival = None;
        self.note(format!("one of two engines left the run to the other: {status}"));
        match status.code() {
            // Done with everything, or refused, or beaten to the driver's number.
            Some(0 | REFUSED | RESUMABLE) => Ok(()),
            _ => Err(broken("I10 ends", format!("of two engines one ended with {status}")).into()),
        }
    }
}

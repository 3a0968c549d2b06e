// SPDX-License-Identifier: GPL-2.0

include!("common.rs");

#[vtable]
impl AddressSpaceOperations for Case {
    type Data = ();

    fn write_end(_mapping: &Mapping<Self>, write: FinishedWrite<'_>) -> Result<usize> {
        let accepted = write.commit();
        write.commit(); //~ error[E0382]
        Ok(accepted)
    }
}

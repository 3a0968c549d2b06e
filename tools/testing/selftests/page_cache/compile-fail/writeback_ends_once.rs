// SPDX-License-Identifier: GPL-2.0

include!("common.rs");

#[vtable]
impl AddressSpaceOperations for Case {
    type Data = ();

    fn launder_folio(_mapping: &Mapping<Self>, _folio: &Locked, writeback: Writeback) -> Result {
        writeback.complete();
        writeback.fail(EIO); //~ error[E0382]
        Ok(())
    }
}

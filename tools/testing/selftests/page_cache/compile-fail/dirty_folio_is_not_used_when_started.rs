// SPDX-License-Identifier: GPL-2.0

include!("common.rs");

#[vtable]
impl AddressSpaceOperations for Case {
    type Data = ();

    fn writepages(_mapping: &Mapping<Self>, control: &mut WritebackControl<'_>) -> Result {
        control.for_each(|folio| {
            folio.start().complete();
            folio.index(); //~ error[E0382]
            Ok(())
        })
    }
}

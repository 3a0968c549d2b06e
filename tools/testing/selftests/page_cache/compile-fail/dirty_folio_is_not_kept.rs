// SPDX-License-Identifier: GPL-2.0

include!("common.rs");

#[vtable]
impl AddressSpaceOperations for Case {
    type Data = ();

    fn writepages(_mapping: &Mapping<Self>, control: &mut WritebackControl<'_>) -> Result {
        let mut _kept: Option<DirtyFolio<'_>> = None;
        control.for_each(|folio| {
            _kept = Some(folio); //~ error[E0521]
            Ok(())
        })
    }
}
